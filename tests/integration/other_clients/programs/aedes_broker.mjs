// aedes, on TCP and WebSocket, with and without TLS: `node aedes_broker.mjs CERT KEY`.
//
// It prints its ports as JSON, and ends with its input.

import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import tls from "node:tls";
import { Aedes } from "aedes";
import { WebSocketServer, createWebSocketStream } from "ws";

const [certificate, key] = process.argv.slice(2);
const options = { cert: readFileSync(certificate), key: readFileSync(key) };
const broker = await Aedes.createBroker();

function overWebSocket(server) {
  const handleProtocols = (offered) => (offered.has("mqtt") ? "mqtt" : false);
  const sockets = new WebSocketServer({ server, handleProtocols });
  sockets.on("connection", (socket, request) =>
    broker.handle(createWebSocketStream(socket), request),
  );
  return server;
}

const servers = {
  tcp: net.createServer(broker.handle),
  tls: tls.createServer(options, broker.handle),
  ws: overWebSocket(http.createServer()),
  wss: overWebSocket(https.createServer(options)),
};
const ports = {};
for (const [name, server] of Object.entries(servers)) {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  ports[name] = server.address().port;
}
console.log(JSON.stringify(ports));
process.stdin.on("end", () => process.exit(0)).resume();
