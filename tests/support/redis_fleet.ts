/**
 * Several servers of Redis that stand in for each other: a cluster, or a primary
 * that sentinels look after.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createClient } from "redis";
import { delay } from "@std/async";
import { answers, noRedis, startRedis } from "./redis_server.ts";
import { freePort, type ServerProcess, startServer } from "./server_process.ts";

/** Why there can be no fleet here, or undefined. */
export const noFleet: string | undefined = noRedis ?? olderThanSeven();

/** Nodes of a cluster listen at ports of their own only then. */
function olderThanSeven(): string | undefined {
  const said = String(spawnSync("redis-server", ["--version"]).stdout);
  const version = Number(/v=(\d+)/.exec(said)?.[1] ?? 7);
  return version >= 7 ? undefined : "redis-server is older than 7";
}

const SLOTS = 16_384;

/** Says a command to one server, and no other. */
export async function say(
  { port }: ServerProcess,
  ...command: string[]
): Promise<unknown> {
  const client = createClient({
    socket: { host: "127.0.0.1", port, reconnectStrategy: false },
  });
  client.on("error", () => {});
  await client.connect();
  try {
    return await client.sendCommand(command);
  } finally {
    client.destroy();
  }
}

/** Waits until an answer is so. Servers that do not answer have not answered so. */
export async function untilSaid(
  server: ServerProcess,
  command: string[],
  isSo: (answer: string) => boolean,
): Promise<void> {
  while (true) {
    try {
      const answer = await say(server, ...command);
      if (isSo(typeof answer === "string" ? answer : JSON.stringify(answer))) {
        return;
      }
    } catch {
      // It may be about to be there.
    }
    await delay(20);
  }
}

/** Three primaries with a third of the slots each, and a replica of the one that has a key. */
export class RedisCluster implements AsyncDisposable {
  readonly primaries: readonly ServerProcess[];
  readonly replica: ServerProcess;
  readonly #slot: number;

  constructor(
    primaries: readonly ServerProcess[],
    replica: ServerProcess,
    slot: number,
  ) {
    this.primaries = primaries;
    this.replica = replica;
    this.#slot = slot;
  }

  /** Whom the slot of the key began at. */
  get owner(): ServerProcess {
    return this.primaries[ownerOf(this.#slot)]!;
  }

  /** Waits until the replica has what the owner has. */
  async untilReplicated(): Promise<void> {
    await untilSaid(
      this.owner,
      ["WAIT", "1", "1000"],
      (count) => count === "1",
    );
  }

  /** Moves the slot, with what is in it, to another primary while it is used. */
  async moveSlot(): Promise<void> {
    const slot = String(this.#slot);
    const from = this.owner;
    const to = this.primaries.find((server) => server !== from)!;
    const [fromId, toId] = [await idOf(from), await idOf(to)];
    await say(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromId);
    await say(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", toId);
    while (true) {
      const keys = await say(from, "CLUSTER", "GETKEYSINSLOT", slot, "10");
      if ((keys as string[]).length === 0) break;
      const where = ["127.0.0.1", String(to.port), "", "0", "5000"];
      await say(from, "MIGRATE", ...where, "KEYS", ...keys as string[]);
    }
    for (const server of [to, from]) {
      await say(server, "CLUSTER", "SETSLOT", slot, "NODE", toId);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.primaries, this.replica];
    await Promise.all(all.map((server) => server[Symbol.asyncDispose]()));
  }
}

/** Starts a cluster, and waits until it is one. */
export async function startRedisCluster(key: string): Promise<RedisCluster> {
  const buses = [];
  for (let node = 0; node < 4; node++) buses.push(await freePort());
  const servers = await all(buses.map((bus) =>
    startRedis({
      config: [
        ...["--cluster-enabled", "yes", "--cluster-port", String(bus)],
        ...["--cluster-node-timeout", "1000"],
        ...["--cluster-replica-validity-factor", "0"],
        ...["--repl-diskless-sync-delay", "0"],
      ],
    })
  ));
  const [first, second, third, replica] = servers as [
    ServerProcess,
    ServerProcess,
    ServerProcess,
    ServerProcess,
  ];
  const primaries = [first, second, third];
  const slot = Number(await say(first, "CLUSTER", "KEYSLOT", key));
  const cluster = new RedisCluster(primaries, replica, slot);
  for (const [index, server] of primaries.entries()) {
    const from = Math.ceil(index * SLOTS / 3);
    const to = Math.ceil((index + 1) * SLOTS / 3) - 1;
    const range = [String(from), String(to)];
    await say(server, "CLUSTER", "ADDSLOTSRANGE", ...range);
    await say(server, "CLUSTER", "SET-CONFIG-EPOCH", String(index + 1));
  }
  for (const [index, server] of servers.slice(1).entries()) {
    const where = [String(server.port), String(buses[index + 1])];
    await say(first, "CLUSTER", "MEET", "127.0.0.1", ...where);
  }
  await untilAgreed(servers);
  await say(replica, "CLUSTER", "REPLICATE", await idOf(cluster.owner));
  await untilSaid(
    replica,
    ["INFO", "replication"],
    (said) => said.includes("master_link_status:up"),
  );
  // Who would vote for it has to know that it is a replica.
  for (const server of servers) {
    await untilSaid(
      server,
      ["CLUSTER", "NODES"],
      (said) => said.includes("slave"),
    );
  }
  await untilAgreed(servers);
  return cluster;
}

/** All of them, or none: where one does not start the others end. */
async function all(
  starting: readonly Promise<ServerProcess>[],
): Promise<ServerProcess[]> {
  const outcomes = await Promise.allSettled(starting);
  const servers = outcomes.flatMap((outcome) =>
    outcome.status === "fulfilled" ? [outcome.value] : []
  );
  for (const outcome of outcomes) {
    if (outcome.status === "fulfilled") continue;
    await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
    throw outcome.reason;
  }
  return servers;
}

async function untilAgreed(servers: readonly ServerProcess[]): Promise<void> {
  for (const server of servers) {
    await untilSaid(
      server,
      ["CLUSTER", "INFO"],
      (said) =>
        said.includes("cluster_state:ok") &&
        said.includes(`cluster_known_nodes:${servers.length}`),
    );
  }
}

function ownerOf(slot: number): number {
  return Math.floor(slot * 3 / SLOTS);
}

async function idOf(server: ServerProcess): Promise<string> {
  return await say(server, "CLUSTER", "MYID") as string;
}

/** A primary, a replica, and a sentinel that makes the one the other when it is gone. */
export class SentinelFleet implements AsyncDisposable {
  readonly primary: ServerProcess;
  readonly replica: ServerProcess;
  readonly sentinel: ServerProcess;

  constructor(
    primary: ServerProcess,
    replica: ServerProcess,
    sentinel: ServerProcess,
  ) {
    this.primary = primary;
    this.replica = replica;
    this.sentinel = sentinel;
  }

  /** Waits until the replica has what the primary has. */
  async untilReplicated(): Promise<void> {
    await untilSaid(
      this.primary,
      ["WAIT", "1", "1000"],
      (count) => count === "1",
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [this.sentinel, this.replica, this.primary];
    for (const server of all) await server[Symbol.asyncDispose]();
  }
}

/** Starts them, and waits until they know each other. */
export async function startSentinelFleet(): Promise<SentinelFleet> {
  const config = ["--repl-diskless-sync-delay", "0"];
  const primary = await startRedis({ config });
  const replica = await startRedis({
    config: [...config, "--replicaof", "127.0.0.1", String(primary.port)],
  });
  const sentinel = await startServer({
    command: "redis-server",
    argumentsFor(port, folder) {
      const file = join(folder, "sentinel.conf");
      const lines = [
        `port ${port}`,
        "bind 127.0.0.1",
        `dir ${folder}`,
        `sentinel monitor main 127.0.0.1 ${primary.port} 1`,
        "sentinel down-after-milliseconds main 1000",
        "sentinel failover-timeout main 5000",
      ];
      writeFileSync(file, lines.join("\n") + "\n");
      return [file, "--sentinel"];
    },
    answers,
  });
  await untilSaid(
    replica,
    ["INFO", "replication"],
    (said) => said.includes("master_link_status:up"),
  );
  await untilSaid(
    sentinel,
    ["SENTINEL", "REPLICAS", "main"],
    (said) => said.includes(String(replica.port)),
  );
  return new SentinelFleet(primary, replica, sentinel);
}
