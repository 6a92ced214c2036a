/**
 * Times, counted in a fixed number of buckets.
 *
 * @module
 */

/** How long something took, in milliseconds. All are 0 when nothing was measured. */
export interface Quantiles {
  /** Half of them took no longer. */
  readonly p50: number;
  /** 90 of 100 took no longer. */
  readonly p90: number;
  /** 99 of 100 took no longer. */
  readonly p99: number;
  /** The longest of those measured; exact, where the others are off by up to a tenth. */
  readonly max: number;
}

/** Buckets for each doubling, so that one spans nine per cent. */
const STEPS = 8;
/** Doublings below and above one millisecond: from a microsecond to 34 years. */
const BELOW = 10;
const ABOVE = 40;
const LEAST = 2 ** -BELOW;

/** Counts times by their magnitude. Any number of them takes the same three kilobytes. */
export class Histogram {
  readonly #counts: Float64Array = new Float64Array((BELOW + ABOVE) * STEPS);
  #total = 0;
  #max = 0;

  /** Counts a time for as many as it stands for. */
  record(milliseconds: number, weight = 1): void {
    this.#total += weight;
    if (milliseconds > this.#max) this.#max = milliseconds;
    if (milliseconds <= LEAST) {
      this.#counts[0]! += weight;
      return;
    }
    const at = Math.ceil((Math.log2(milliseconds) + BELOW) * STEPS);
    this.#counts[Math.min(at, this.#counts.length - 1)]! += weight;
  }

  quantiles(): Quantiles {
    return Object.freeze({
      p50: this.#quantile(0.5),
      p90: this.#quantile(0.9),
      p99: this.#quantile(0.99),
      max: this.#max,
    });
  }

  /** The upper end of the bucket in which it lies. */
  #quantile(share: number): number {
    let left = Math.ceil(this.#total * share);
    if (left === 0) return 0;
    let at = 0;
    while ((left -= this.#counts[at]!) > 0) at++;
    return Math.min(2 ** (at / STEPS - BELOW), this.#max);
  }
}

/** So many are all measured. */
const ALL = 256;
/** What takes no longer, in milliseconds, costs less than to measure it. */
const QUICK = 0.05;
/** One of so many stands for the others. */
const SAMPLE = 16;

/**
 * Which calls to measure. Two looks at a clock may cost more than all the rest of
 * a quick call; so of many quick ones a sample is measured, and what it finds
 * counts for those left out. Whatever follows a slow one is measured.
 */
export class Sampling {
  #measured = 0;
  /** Between two that are measured. */
  #gap = 0;
  #toSkip = 0;
  #skipped = 0;

  /** For how many calls the next one stands; 0 if it is not to be measured. */
  next(): number {
    if (this.#toSkip > 0) {
      this.#toSkip--;
      this.#skipped++;
      return 0;
    }
    this.#toSkip = this.#gap;
    const weight = this.#skipped + 1;
    this.#skipped = 0;
    return weight;
  }

  /** One that was measured took so long, divided by how many ran at a time. */
  note(milliseconds: number): void {
    if (++this.#measured < ALL) return;
    this.#gap = milliseconds <= QUICK ? SAMPLE - 1 : 0;
    if (this.#gap === 0) this.#toSkip = 0;
  }
}
