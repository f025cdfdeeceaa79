/** What the proxy's own workload takes: its ports, under the names that lead to them, each with its mTLS mode and its policies. */
import type { Steps } from "../../core/slices.ts";
import { serviceHost, serviceKey } from "../../mesh/service-key.ts";
import { trustDomainsOf } from "../../resources/mesh/schema.ts";
import { appProtocolOf, targetPortOf } from "../../resources/service/schema.ts";
import { applicationPort } from "../../resources/workload/schema.ts";
import { compileAuthentication } from "../authentication.ts";
import { readHeadersOf } from "../../mesh/header-readings.ts";
import type { InboundPolicy, InboundPort } from "../snapshot.ts";
import type { Frame } from "./frame.ts";
import { guardPorts } from "./guards.ts";
import type {
  HeldAuthorizationPolicy,
  HeldPeerAuthentication,
  HeldRequestAuthentication,
  HeldService,
  HeldTrafficPolicy,
} from "./held/held.ts";
import { protectionOf, UNPROTECTED } from "./overload.ts";

/** What the inbound side is made of; each list has the oldest first. */
export interface InboundInput {
  readonly frame: Frame;
  /** Those of the workload's namespace that select it. */
  readonly services: readonly HeldService[];
  /** The TrafficPolicies that name each of them. */
  readonly policies: readonly (readonly HeldTrafficPolicy[])[];
  /** Ports under which the workload is registered; undefined where it is not. */
  readonly registered: Readonly<Record<string, number>> | undefined;
  readonly peerAuthentications: readonly HeldPeerAuthentication[];
  readonly requestAuthentications: readonly HeldRequestAuthentication[];
  readonly authorizationPolicies: readonly HeldAuthorizationPolicy[];
}

export interface Inbound {
  readonly input: InboundInput;
  readonly policy: InboundPolicy;
  readonly warnings: readonly string[];
}

/** The one of before where it was made of the same. */
export function* compileInbound(
  input: InboundInput,
  before: Inbound | undefined,
): Steps<Inbound> {
  if (before !== undefined && isSame(input, before.input)) return before;
  const warnings: string[] = [];
  return { input, policy: yield* policyOf(input, warnings), warnings };
}

function isSame(left: InboundInput, right: InboundInput): boolean {
  const same = <T>(one: readonly T[], other: readonly T[]): boolean =>
    one.length === other.length &&
    one.every((each, index) => each === other[index]);
  return (
    left.frame === right.frame &&
    JSON.stringify(left.registered) === JSON.stringify(right.registered) &&
    left.peerAuthentications === right.peerAuthentications &&
    left.requestAuthentications === right.requestAuthentications &&
    left.authorizationPolicies === right.authorizationPolicies &&
    same(left.services, right.services) &&
    same(left.policies, right.policies)
  );
}

function* policyOf(
  input: InboundInput,
  warnings: string[],
): Steps<InboundPolicy> {
  const { self, mesh } = input.frame;
  const authentication = yield* compileAuthentication(
    input.peerAuthentications.map(({ resource }) => resource),
    self,
    mesh.mtls.mode,
  );
  for (const { loser, winner } of authentication.overruled)
    warnings.push(
      `PeerAuthentication ${loser} is not in force: ${winner} is older`,
    );
  const named = yield* namedPorts(input, warnings);
  const parsed = parsedPorts(named, warnings);
  const guarded = yield* guardPorts(
    {
      frame: input.frame,
      authorizations: input.authorizationPolicies.map(
        ({ resource }) => resource,
      ),
      authentications: input.requestAuthentications.map(
        ({ resource }) => resource,
      ),
    },
    named,
  );
  const ports = guarded.map((port): InboundPort => ({
    ...port,
    readHeaders: readHeadersOf([
      ...port.headers,
      ...(port.protection.limitHeaders ?? []),
    ]),
    takesBytes: !parsed.has(port.targetPort),
    mtls: authentication.port(port.targetPort),
    passedOver: () => authentication.passedOver(port.targetPort),
  }));

  const byKey = new Map<string, InboundPort>();
  const byNumber = new Map<number, InboundPort>();
  for (const each of ports) {
    if (each.key !== "") byKey.set(each.key, each);
    // Where several Services lead to one port, the oldest one's word on its protocol counts.
    if (!byNumber.has(each.targetPort)) byNumber.set(each.targetPort, each);
  }
  return {
    ports,
    resolve: (destination) => byKey.get(destination),
    byPort: (workloadPort) => byNumber.get(workloadPort),
  };
}

/** Every port of every Service that selects the workload, and then the ports that no Service leads to. */
function* namedPorts(
  input: InboundInput,
  warnings: string[],
): Steps<readonly DeclaredPort[]> {
  const { self, mesh } = input.frame;
  const trustDomains = trustDomainsOf(mesh);
  const declared = declaredPorts(input);
  const named: DeclaredPort[] = [];
  for (const [index, { resource: service }] of input.services.entries()) {
    yield;
    const { name } = service.metadata;
    const policies = (input.policies[index] ?? []).map(
      ({ resource }) => resource,
    );
    for (const servicePort of service.spec.ports) {
      // Before the workload says what it listens on, the Service's word is all there is.
      const targetPort =
        declared === undefined
          ? targetPortOf(servicePort)
          : applicationPort({ address: "", ports: declared }, servicePort);
      if (targetPort === undefined) {
        warnings.push(
          `Service ${self.namespace}/${name}: this workload declares no port for its port ${servicePort.port}`,
        );
        continue;
      }
      named.push({
        key: serviceKey(name, self.namespace, servicePort.port),
        service: serviceHost(name, self.namespace),
        servicePort: servicePort.port,
        targetPort,
        appProtocol: appProtocolOf(servicePort),
        protection: protectionOf(
          policies,
          { name, namespace: self.namespace },
          servicePort,
          trustDomains,
        ),
      });
    }
  }
  for (const targetPort of new Set(Object.values(declared ?? {})))
    if (!named.some((known) => known.targetPort === targetPort))
      named.push({
        key: "",
        service: "",
        servicePort: targetPort,
        targetPort,
        appProtocol: appProtocolOf({ port: targetPort }),
        protection: UNPROTECTED,
      });
  return named;
}

/** Ports of the workload that accept only HTTP. */
function parsedPorts(
  named: readonly DeclaredPort[],
  warnings: string[],
): ReadonlySet<number> {
  // One Service that declares the port for HTTP is enough: another one's `tcp` must not be a way around its policies.
  const parsed = new Set(
    named
      .filter((each) => !takesBytes(each))
      .map(({ targetPort }) => targetPort),
  );
  for (const { key, targetPort, appProtocol } of named)
    if (parsed.has(targetPort) && takesBytes({ appProtocol }))
      warnings.push(
        `Service port ${key} is ${appProtocol}, but another Service declares port ${targetPort} of this workload for HTTP: it takes HTTP requests alone`,
      );
  return parsed;
}

function takesBytes({
  appProtocol,
}: Pick<DeclaredPort, "appProtocol">): boolean {
  return appProtocol === "tcp" || appProtocol === "tls";
}

/** A port by the word of its Service. */
type DeclaredPort = Omit<
  InboundPort,
  | "takesBytes"
  | "mtls"
  | "tokens"
  | "custom"
  | "readHeaders"
  | "authorize"
  | "shadow"
  | "passedOver"
  | "explain"
>;

/** From the sidecar's own start, else from its registration; undefined where neither has said. */
function declaredPorts({
  frame,
  registered,
}: InboundInput): Readonly<Record<string, number>> | undefined {
  return frame.self.ports ?? registered;
}
