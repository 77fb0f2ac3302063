// The client program of mqtt.js: the same arguments and result line as the Python ones.
//
// Its environment has a copy of this file, since node looks for packages beside it.

import { readFileSync } from "node:fs";
import mqtt from "mqtt";

const HOST = "127.0.0.1";
const TOPIC = "bench/temperature";
const FILTER = "bench/#";

// As in common.py.
const IDLE_WARM_UP = 50;
const LATENCY_WARM_UP = 100;

const [kind, ...numbers] = process.argv.slice(2);
const [port, messages, qos, size, inFlight, protocol, limit] = numbers.map(Number);
const [transport = "tcp", file] = numbers.slice(9);
const SCHEMES = { tcp: "mqtt", tls: "mqtts", ws: "ws", wss: "wss" };
const path = transport.startsWith("ws") ? "/mqtt" : "";
const payload = Buffer.alloc(size, "x");

const result = {
  version: JSON.parse(
    readFileSync(new URL("node_modules/mqtt/package.json", import.meta.url)),
  ).version,
  build: "node",
  node: process.version,
  count: 0,
  payload_bytes: 0,
};

let cpuStarted, wallStarted;

function start() {
  globalThis.gc();
  wallStarted = process.hrtime.bigint();
  // User and system time of the whole process, its threads included.
  cpuStarted = process.cpuUsage();
}

function stop() {
  const cpu = process.cpuUsage(cpuStarted);
  result.cpu_s = (cpu.user + cpu.system) / 1e6;
  result.wall_s = Number(process.hrtime.bigint() - wallStarted) / 1e9;
}

function residentBytes() {
  globalThis.gc();
  return process.memoryUsage.rss();
}

let clients = 0;

function connected() {
  clients += 1;
  return mqtt.connectAsync(`${SCHEMES[transport]}://${HOST}:${port}${path}`, {
    ca: transport === "tls" || transport === "wss" ? readFileSync(file) : undefined,
    clientId: `bench-${clients}`,
    protocolVersion: protocol,
    reconnectPeriod: 0,
  });
}

async function receive() {
  const client = await connected();
  start();
  await new Promise((resolve, reject) => {
    client.on("message", (_topic, message) => {
      result.payload_bytes += message.length;
      result.count += 1;
      if (result.count === messages) resolve();
    });
    client.subscribe(FILTER, { qos }, (error) => error && reject(error));
  });
  stop();
  await client.endAsync();
}

async function receiveWatched() {
  const before = residentBytes();
  await receive();
  const [, peak] = /VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"));
  result.peak_bytes = Number(peak) * 1024 - before;
}

async function publish() {
  const client = await connected();
  start();
  for (let index = 0; index < messages; index += 1) {
    if (index % inFlight === 0) {
      // Without a wait, the loop would gather every message in memory.
      await client.publishAsync(TOPIC, payload, { qos });
    } else {
      client.publish(TOPIC, payload, { qos });
    }
  }
  await client.endAsync();
  result.count = messages;
  // After the end: it writes what publish only queued.
  stop();
}

function publishGroup(client, length) {
  return new Promise((resolve, reject) => {
    let left = length;
    const done = (error) => {
      if (error) reject(error);
      left -= 1;
      if (left === 0) resolve();
    };
    for (let index = 0; index < length; index += 1) {
      client.publish(TOPIC, payload, { qos }, done);
    }
  });
}

async function publishWindow() {
  const client = await connected();
  start();
  while (result.count < messages) {
    const length = Math.min(inFlight, messages - result.count);
    await publishGroup(client, length);
    result.count += length;
  }
  stop();
  await client.endAsync();
}

async function latency() {
  const client = await connected();
  for (let index = 0; index < LATENCY_WARM_UP; index += 1) {
    await client.publishAsync(TOPIC, payload, { qos });
  }
  const latencies = [];
  start();
  for (let index = 0; index < messages; index += 1) {
    const started = process.hrtime.bigint();
    await client.publishAsync(TOPIC, payload, { qos });
    latencies.push(Number(process.hrtime.bigint() - started));
  }
  stop();
  await client.endAsync();
  latencies.sort((a, b) => a - b);
  result.count = latencies.length;
  result.p50_us = latencies[Math.floor(latencies.length / 2)] / 1000;
  result.p99_us = latencies[Math.floor((latencies.length * 99) / 100)] / 1000;
}

async function connect() {
  await (await connected()).endAsync(); // caches of the first connection
  start();
  for (; result.count < messages; result.count += 1) {
    const client = await connected();
    await client.endAsync();
  }
  stop();
}

async function idle() {
  const held = [];
  for (let index = 0; index < IDLE_WARM_UP; index += 1) held.push(await connected());
  const before = residentBytes();
  start();
  for (; result.count < messages; result.count += 1) held.push(await connected());
  stop();
  result.bytes_per_client = (residentBytes() - before) / result.count;
  await Promise.all(held.map((client) => client.endAsync()));
}

const kinds = {
  receive,
  "receive-watched": receiveWatched,
  publish,
  "publish-window": publishWindow,
  latency,
  connect,
  idle,
};

function finish() {
  console.log(JSON.stringify(result));
  process.exit(0);
}

// The limit ends a client that waits for messages that don't come; what it has counted
// until then tells the runner how many are missing.
setTimeout(() => {
  stop();
  result.timed_out = 1;
  finish();
}, limit * 1000);
await kinds[kind]();
finish();
