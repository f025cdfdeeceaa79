/** What the proxy's own workload takes: its ports, under the names that lead to them, each with its mTLS mode and its policies. */
import { serviceHost, serviceKey } from "../../mesh/service-key.ts";
import { selects } from "../../resources/envelope.ts";
import type { MeshSettings } from "../../resources/mesh/schema.ts";
import {
  appProtocolOf,
  DEFAULT_APP_PROTOCOL,
  targetPortOf,
} from "../../resources/service/schema.ts";
import { applicationPort } from "../../resources/workload/schema.ts";
import { compileAuthentication } from "../authentication.ts";
import { compileAuthorization } from "../authorization/authorization.ts";
import type {
  InboundPolicy,
  InboundPort,
  SelfDescription,
} from "../snapshot.ts";
import { isOpaque, namespaceOf } from "./clusters.ts";
import { protectionOf, UNPROTECTED } from "./overload.ts";
import type { Sorted } from "./sort.ts";

export function compileInbound(
  sorted: Sorted,
  self: SelfDescription,
  mesh: MeshSettings,
  warnings: string[],
): InboundPolicy {
  const authentication = compileAuthentication(
    sorted.peerAuthentications,
    self,
    mesh.mtls.mode,
  );
  for (const { loser, winner } of authentication.overruled)
    warnings.push(
      `PeerAuthentication ${loser} is not in force: ${winner} is older`,
    );
  const authorizer = compileAuthorization(
    sorted.authorizationPolicies,
    self,
    mesh.authorization.defaultAction,
  );
  const named = namedPorts(sorted, self, warnings);
  const parsed = parsedPorts(named, warnings);
  const ports = named.map((port): InboundPort => ({
    ...port,
    takesBytes: !parsed.has(port.targetPort),
    mtls: authentication.port(port.targetPort),
    authorize: (facts) => authorizer.authorize(facts),
    passedOver: () => authentication.passedOver(port.targetPort),
    explain: (facts) => authorizer.explain(facts),
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
function namedPorts(
  sorted: Sorted,
  self: SelfDescription,
  warnings: string[],
): readonly DeclaredPort[] {
  const declared = declaredPorts(sorted, self);
  const named: DeclaredPort[] = [];
  for (const service of sorted.services) {
    const { selector } = service.spec;
    if (
      namespaceOf(service) !== self.namespace ||
      selector === undefined ||
      !selects(selector, self.labels)
    )
      continue;
    const { name } = service.metadata;
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
          sorted.trafficPolicies,
          { name, namespace: self.namespace },
          servicePort,
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
        appProtocol: DEFAULT_APP_PROTOCOL,
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
    named.filter((each) => !isOpaque(each)).map(({ targetPort }) => targetPort),
  );
  for (const { key, targetPort, appProtocol } of named)
    if (parsed.has(targetPort) && isOpaque({ appProtocol }))
      warnings.push(
        `Service port ${key} is ${appProtocol}, but another Service declares port ${targetPort} of this workload for HTTP: it takes HTTP requests alone`,
      );
  return parsed;
}

/** A port by the word of its Service. */
type DeclaredPort = Omit<
  InboundPort,
  "takesBytes" | "mtls" | "authorize" | "passedOver" | "explain"
>;

/** From the sidecar's own start, else from its registration; undefined where neither has said. */
function declaredPorts(
  sorted: Sorted,
  self: SelfDescription,
): Readonly<Record<string, number>> | undefined {
  if (self.ports !== undefined) return self.ports;
  const registered = sorted.workloads.find(
    ({ metadata }) =>
      metadata.name === self.name && metadata.namespace === self.namespace,
  );
  return registered === undefined ? undefined : (registered.spec.ports ?? {});
}
