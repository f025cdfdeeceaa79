/** What a control plane has sent a sidecar, and what it has kept from it. */
import { pushedResource } from "../../../src/push/codec.ts";
import type { DeltaResponse } from "../../../src/push/messages.ts";
import type { Instead } from "../../../src/push/stand-in.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import type { TestControlPlane } from "./push-control-plane.ts";

/** The resource of that name in the newest message that has it. */
export function received(
  messages: readonly DeltaResponse[],
  name: string,
): Resource | undefined {
  const found = messages
    .flatMap(({ resources }) => resources)
    .findLast((each) => each.name === name);
  return found === undefined
    ? undefined
    : (JSON.parse(
        pushedResource.decode(found.value).json.toString(),
      ) as Resource);
}

/** By resource: the fields for which the connected sidecar does not get it, and what it gets in its place. */
export async function withheld(
  plane: TestControlPlane,
): Promise<Record<string, [string, Instead]>> {
  const sidecar = (await plane.push.status()).find((each) => each.connected);
  return Object.fromEntries(
    (sidecar?.withheld?.resources ?? []).map(
      ({ resource, fields, instead }) => [resource, [fields.join(), instead]],
    ),
  );
}
