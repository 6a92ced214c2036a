/**
 * A list whose links run through its members.
 *
 * @module
 */

/** A member, of one chain at a time. */
export interface Chained<L> {
  previous: L | undefined;
  next: L | undefined;
}

/** Members in order. To join and to leave is O(1) and allocates nothing. */
export class Chain<L extends Chained<L>> {
  first: L | undefined = undefined;
  last: L | undefined = undefined;

  push(member: L): void {
    member.previous = this.last;
    if (this.last === undefined) this.first = member;
    else this.last.next = member;
    this.last = member;
  }

  /** The links of who leaves are cut: an old one that is garbage would keep all that came after it. */
  remove(member: L): void {
    const { previous, next } = member;
    if (previous === undefined) this.first = next;
    else previous.next = next;
    if (next === undefined) this.last = previous;
    else next.previous = previous;
    member.previous = undefined;
    member.next = undefined;
  }

  /** Puts one in the place of another. */
  replace(member: L, other: L): void {
    const { previous, next } = member;
    this.remove(member);
    other.previous = previous;
    other.next = next;
    if (previous === undefined) this.first = other;
    else previous.next = other;
    if (next === undefined) this.last = other;
    else next.previous = other;
  }
}
