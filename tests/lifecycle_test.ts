import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { QueueClosedError } from "../src/errors.ts";
import { Lifecycle } from "../src/lifecycle.ts";
import type { EndingView, QueueFollower } from "../src/lifecycle.ts";
import { test } from "./support/harness.ts";
import { reasonOf } from "./support/waiting.ts";

/** Writes down what it is told. */
class Witness implements QueueFollower, EndingView {
  readonly heard: unknown[] = [];

  endedByQueue(): void {
    this.heard.push("takes no more");
  }

  erroredByQueue(reason: unknown, aborted: boolean): void {
    this.heard.push(["takes no more", reason, aborted]);
  }

  ended(): void {
    this.heard.push("over");
  }

  errored(reason: unknown): void {
    this.heard.push(["over", reason]);
  }
}

function attended(): { life: Lifecycle; heard: unknown[] } {
  const life = new Lifecycle("queue");
  const witness = new Witness();
  life.follow(witness);
  life.watch(witness);
  return { life, heard: witness.heard };
}

test("a close is told in two parts: nothing more is taken, and all is over", () => {
  const { life, heard } = attended();
  assert(life.close());
  life.tell();
  assertEquals([life.state, ...heard], ["closing", "takes no more"]);
  life.finish();
  life.tell();
  assertEquals([life.state, ...heard], ["closed", "takes no more", "over"]);
});

test("a failure is told with its reason, and is an abort only where it was one", () => {
  const failed = attended();
  failed.life.close({ reason: "broke" });
  failed.life.finish();
  failed.life.tell();
  assertEquals(failed.heard, [["takes no more", "broke", false], [
    "over",
    "broke",
  ]]);
  const cut = attended();
  cut.life.abort("stop");
  cut.life.tell();
  assertEquals(cut.heard, [["takes no more", "stop", true], ["over", "stop"]]);
});

test("who aborts while told of a close has each told of the end once", () => {
  const { life, heard } = attended();
  life.follow({
    endedByQueue() {
      life.abort("at once");
      life.tell();
    },
    erroredByQueue() {},
  });
  life.close();
  life.tell();
  assertEquals(heard, ["takes no more", ["over", "at once"]]);
});

test("who comes too late is told at once", () => {
  const life = new Lifecycle("queue");
  life.close();
  const follower = new Witness();
  life.follow(follower);
  assertEquals(follower.heard, ["takes no more"]);
  life.finish();
  const view = new Witness();
  life.watch(view);
  assertEquals(view.heard, ["over"]);
});

test("who has left is told nothing", () => {
  const life = new Lifecycle("queue");
  const witness = new Witness();
  life.follow(witness);
  life.watch(witness);
  assert(life.isWatched);
  life.unfollow(witness);
  life.unwatch(witness);
  life.abort("unheard");
  life.tell();
  assertEquals([witness.heard, life.isWatched], [[], false]);
});

test("the first ending that applies wins, and an abort may cut a close short", () => {
  const life = new Lifecycle("queue");
  assertEquals([life.close({ reason: 1 }), life.close()], [true, false]);
  assertEquals([life.abort(2), life.abort(3), life.close()], [
    true,
    false,
    false,
  ]);
  assertEquals([life.state, life.reason, life.aborted], ["errored", 2, true]);
});

test("ready is one promise until there is room, and asked for only while it waits", async () => {
  const life = new Lifecycle("queue");
  await life.ready(true);
  assertEquals(life.awaitsRoom, false);
  const waiting = life.ready(false);
  assertEquals([life.ready(false) === waiting, life.awaitsRoom], [true, true]);
  life.roomCame();
  await waiting;
  assertEquals(life.awaitsRoom, false);
  const again = life.ready(false);
  life.close();
  await again;
  await life.ready(false);
});

test("ready after fail rejects with its reason, and after an abort with that of the abort", async () => {
  const life = new Lifecycle("queue");
  const before = life.ready(false);
  life.close({ reason: "failed" });
  assertEquals(life.awaitsRoom, false);
  assertEquals(await reasonOf(before), "failed");
  assertEquals(await reasonOf(life.ready(true)), "failed");
  life.abort("aborted");
  assertEquals(await reasonOf(life.ready(true)), "aborted");
});

test("closed settles with the end, whenever it was asked for", async () => {
  const life = new Lifecycle("queue");
  assertEquals(life.awaitsEnd, false);
  const before = life.closed;
  assert(life.awaitsEnd);
  life.close({ reason: "failed" });
  life.finish();
  life.tell();
  assertEquals(await reasonOf(before), "failed");
  const late = new Lifecycle("queue");
  late.close();
  late.finish();
  await late.closed;
});

test("a refusal says what was wanted of whom, with the item and why it ended", () => {
  const life = new Lifecycle("broadcast", "news");
  life.close({ reason: "broke" });
  const error = life.refusal(7) as QueueClosedError<number>;
  assert(error instanceof QueueClosedError);
  assertEquals([error.item, error.cause], [7, "broke"]);
  assertStringIncludes(
    error.message,
    'Cannot put: the broadcast "news" must be open, received one that is closing',
  );
  const late = life.notOpen("register a producer");
  assertEquals(["item" in late, late.cause], [false, "broke"]);
  life.abort("stop");
  assertEquals(life.refusal(8), "stop");
});
