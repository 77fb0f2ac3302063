// MQTT.js, told by stdin what to do; see drivers.py.

import { createInterface } from "node:readline";
import mqtt from "mqtt";

const tell = (values) => console.log(JSON.stringify(values));

let client = null;

const commands = {
  connect({ host, port, version, client_id, session, will }, answer) {
    client = mqtt.connect({
      host,
      port,
      protocol: "mqtt",
      protocolVersion: version,
      protocolId: version === 3 ? "MQIsdp" : "MQTT",
      clientId: client_id,
      clean: !session,
      reconnectPeriod: 0,
      resubscribe: false,
      properties:
        version === 5 && session ? { sessionExpiryInterval: 600 } : undefined,
      will: will ?? undefined,
    });
    client.on("message", (topic, payload, packet) => {
      // An object without a prototype: a list for a name that stands twice.
      const user = Object.entries(packet.properties?.userProperties ?? {});
      tell({
        message: {
          topic,
          payload: payload.toString(),
          qos: packet.qos,
          retain: packet.retain,
          content_type: packet.properties?.contentType ?? null,
          user_property: user.flatMap(([name, values]) =>
            [values].flat().map((value) => [name, value]),
          ),
        },
      });
    });
    client.once("connect", (connack) =>
      answer(null, { session_present: Boolean(connack.sessionPresent) }),
    );
    client.on("error", (error) => answer(error));
  },
  subscribe({ filter, qos }, answer) {
    client.subscribe(filter, { qos }, (error, granted) =>
      answer(error, { granted: granted?.[0]?.qos }),
    );
  },
  unsubscribe({ filter }, answer) {
    client.unsubscribe(filter, (error) => answer(error, {}));
  },
  publish({ topic, payload, qos, retain, content_type, user_property }, answer) {
    const options = { qos, retain: retain ?? false };
    if (content_type) {
      options.properties = { contentType: content_type, userProperties: {} };
      for (const [name, value] of user_property) {
        (options.properties.userProperties[name] ??= []).push(value);
      }
    }
    client.publish(topic, payload, options, (error) => answer(error, {}));
  },
  disconnect(_, answer) {
    client.end(false, {}, () => answer(null, {}));
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { number, do: name, ...command } = JSON.parse(line);
  let answered = false;
  commands[name](command, (error, result) => {
    if (answered) return;
    answered = true;
    tell(error ? { number, error: String(error) } : { number, ...result });
  });
}
process.exit(0);
