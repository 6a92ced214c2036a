/**
 * What is done for servers before NATS 2.11 and 2.10 alone, in one place: it goes when
 * they need not be heeded any longer.
 *
 * - Before 2.11 a server that was killed waits for the end of messages that it has no
 *   longer: {@linkcode endTheGone}.
 * - Before 2.10 no answer tells the time of the server: {@linkcode askTheTime}.
 * - Before 2.10.6 a server that crashed enforces the bound of a stream on what is there
 *   already, by dropping the oldest (nats-server #4775): so streams are made without
 *   a bound, and puts are held up by who puts.
 * - Before 2.10 a server that crashed may have messages again that are done: so what is
 *   there is counted by what its consumers say, not by the stream.
 * - 2.9.10 forgets a request for messages now and then, when many are over at the same
 *   time: so one whose answer is late is asked again, see `PullSource`.
 *
 * @module
 */

import type { Api, ConsumerInfo, StreamInfo } from "./api.ts";
import type { NatsWire } from "./wire.ts";

/**
 * Ends what the server waits for and does not have. It would take room, stop its
 * order, and each of them holds up a delivery whenever its turn comes. The server tells
 * which are gone, not which of those it waits for.
 */
export async function endTheGone(
  wire: NatsWire,
  api: Api,
  stream: string,
  consumers: readonly ConsumerInfo[],
): Promise<void> {
  const lending = consumers.filter((one) => one.num_ack_pending > 0);
  if (lending.length === 0 || !isBefore(wire.version, 2, 11)) return;
  const { state } = await api<StreamInfo>(
    `look at the stream "${stream}"`,
    `STREAM.INFO.${stream}`,
    { deleted_details: true },
  );
  await Promise.all(lending.map(async ({ name, ack_floor, delivered }) => {
    const gone = (state.deleted ?? []).filter((sequence) =>
      sequence > ack_floor.stream_seq && sequence <= delivered.stream_seq
    );
    const subjects = gone.map((sequence) =>
      `$JS.ACK.${stream}.${name}.1.${sequence}.0.0.0`
    );
    const last = subjects.pop();
    if (last === undefined) return;
    for (const subject of subjects) wire.tell(subject, "+ACK");
    // They are heard in turn: its answer is for all of them.
    await wire.request(last, "+ACK");
  }));
}

/** The time of the server: it tells when something was made. */
export async function askTheTime(api: Api, stream: string): Promise<string> {
  const { created } = await api<ConsumerInfo>(
    "ask for the time",
    `CONSUMER.CREATE.${stream}`,
    {
      stream_name: stream,
      config: {
        ack_policy: "none",
        deliver_policy: "new",
        inactive_threshold: 1e9,
        mem_storage: true,
      },
    },
  );
  return created;
}

function isBefore(version: string, major: number, minor: number): boolean {
  const [first = 0, second = 0] = version.split(".").map(Number);
  return first < major || (first === major && second < minor);
}
