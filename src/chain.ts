/**
 * A list whose links run through its members.
 *
 * @module
 */

/** A member, of one chain at a time. */
export interface Link<L> {
  previous: L | undefined;
  next: L | undefined;
}

/** Members in order. To join and to leave is O(1) and allocates nothing. */
export class Chain<L extends Link<L>> {
  first: L | undefined = undefined;
  last: L | undefined = undefined;

  push(link: L): void {
    link.previous = this.last;
    if (this.last === undefined) this.first = link;
    else this.last.next = link;
    this.last = link;
  }

  /** The links of who leaves are cut: an old one that is garbage would keep all that came after it. */
  remove(link: L): void {
    const { previous, next } = link;
    if (previous === undefined) this.first = next;
    else previous.next = next;
    if (next === undefined) this.last = previous;
    else next.previous = previous;
    link.previous = undefined;
    link.next = undefined;
  }

  /** Puts one in the place of another. */
  replace(link: L, other: L): void {
    const { previous, next } = link;
    this.remove(link);
    other.previous = previous;
    other.next = next;
    if (previous === undefined) this.first = other;
    else previous.next = other;
    if (next === undefined) this.last = other;
    else next.previous = other;
  }
}
