// aedes as its page shows it, on a plain server of node.
//
// Its environment has a copy of this file, since node looks for packages beside it.

import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { Aedes } from "aedes";

const { version } = JSON.parse(
  readFileSync(new URL("node_modules/aedes/package.json", import.meta.url)),
);
const broker = await Aedes.createBroker();
const server = createServer(broker.handle);
server.listen(0, "127.0.0.1", () => {
  console.log(JSON.stringify({ port: server.address().port, version }));
});
