/** The peers that are known, by name. */
import type { Found, PeerName, PeerSettings } from "./peer.ts";
import { envoyPair } from "./peers/envoy.ts";
import { haproxyPair } from "./peers/haproxy.ts";
import { nginxPair } from "./peers/nginx.ts";
import { nodePair } from "./peers/node-pair.ts";
import { pipePair } from "./peers/pipe.ts";
import { wherryPair } from "./peers/wherry.ts";

export async function makePair(
  name: PeerName,
  settings: PeerSettings,
): Promise<Found> {
  switch (name) {
    case "Wherry":
      return wherryPair(settings);
    case "Envoy":
      return envoyPair(settings);
    case "HAProxy":
      return haproxyPair(settings);
    case "nginx":
      return nginxPair(settings);
    case "http-proxy":
    case "undici":
      return nodePair(name, settings);
    case "pipe":
      return pipePair(settings);
  }
}
