/** What resources have in common, as text: the preset dictionary with which both ends pack them. It is part of the wire format of its schema, and never changes. */

const OWN = `"apiVersion":"mesh.wherry.dev/v1alpha1","kind":"`;
const GATEWAY = `"apiVersion":"gateway.networking.k8s.io/v1","kind":"`;
const SECURITY = `"apiVersion":"security.istio.io/v1","kind":"`;
/** As the store writes it, behind the name and the namespace. */
const STORED = `"uid":"-4","resourceVersion":"1","generation":2,"creationTimestamp":"2026-01-01T00:00:00.000Z"},"spec":{`;
const SELECTOR = `"selector":{"matchLabels":{"app":"`;
const TARGET = `"targetRefs":[{"group":"mesh.wherry.dev","kind":"Service","name":"`;

/** The rarest first: the nearer to the end, the fewer bits a reference takes. */
const SAMPLES: readonly string[] = [
  `{${OWN}Mesh","metadata":{"name":"default",${STORED}"trustDomain":"cluster.local","authorization":{"defaultAction":"DENY"},"outboundTrafficPolicy":"REGISTRY_ONLY","mtls":{"mode":"PERMISSIVE","certificateTTL":"24h"},"defaults":{"timeouts":{"streamIdle":"5m"},"tracing":{"randomSamplingPercentage":1}}}}`,
  `{${OWN}FaultInjection","metadata":{"name":"slow-",${STORED}${TARGET}"}],"delay":{"fixedDelay":"2s","percentage":10},"abort":{"httpStatus":503,"percentage":1},"expiresAt":"2026`,
  `{${SECURITY}PeerAuthentication","metadata":{"name":"default",${STORED}${SELECTOR}"}},"mtls":{"mode":"STRICT"},"portLevelMtls":{"8080":{"mode":"PERMISSIVE"}}}}`,
  `{${SECURITY}AuthorizationPolicy","metadata":{"name":"allow-",${STORED}${SELECTOR}"}},"action":"ALLOW","rules":[{"from":[{"source":{"namespaces":["shop"],"principals":["cluster.local/ns/default/sa/`,
  `"]}}],"to":[{"operation":{"ports":["80"],"methods":["GET","HEAD","POST"],"paths":["/"]}}],"when":[{"key":"request.headers[","values":["`,
  `{${OWN}TrafficPolicy","metadata":{"name":"",${STORED}${TARGET}"}],"loadBalancer":{"simple":"ROUND_ROBIN"},"connectionPool":{"http":{"http2MaxRequests":256}},"circuitBreaker":{"errorThresholdPercent":50,"volumeThreshold":20},"outlierDetection":{"consecutive5xxErrors":5},"healthCheck":{"path":"/healthz","interval":"10s"}`,
  `{${GATEWAY}GRPCRoute","metadata":{"name":"",${STORED}"parentRefs":[{"group":"","kind":"Service","name":""}],"rules":[{"matches":[{"method":{"service":"","method":""},"headers":[{"name":"x-","value":"`,
  `{${GATEWAY}HTTPRoute","metadata":{"name":"",${STORED}"parentRefs":[{"group":"mesh.wherry.dev","kind":"Service","name":"`,
  `"}],"rules":[{"matches":[{"path":{"type":"PathPrefix","value":"/"},"method":"GET"}],"filters":[{"type":"ResponseHeaderModifier","responseHeaderModifier":{"set":[{"name":"x-","value":"`,
  `"}]}}],"retry":{"attempts":2,"codes":[503]},"timeouts":{"request":"10s","backendRequest":"500ms"},"backendRefs":[{"name":"","port":80,"weight":1}]}]}}`,
  `{${OWN}Service","metadata":{"name":"",${STORED}"location":"MESH_EXTERNAL","hosts":["`,
  `"],"ports":[{"name":"grpc","port":9090,"appProtocol":"grpc"},{"name":"http","port":80,"targetPort":8080,"appProtocol":"http"}],"selector":{"app":"","version":"v1"},"exportTo":["."]}}`,
  `"mesh.wherry.dev/unconfirmed-since":"2026-"topology.kubernetes.io/zone":"pod-template-hash":"`,
  `{${OWN}Workload","metadata":{"name":"-0","namespace":"default","labels":{"app":"","version":"v1"},"annotations":{"mesh.wherry.dev/registered-by":"spiffe://cluster.local/ns/default/sa/"},${STORED}"address":"10.0.0.1","ports":{"http":8080},"link":{"port":15008},"locality":"eu-west-1/","weight":1,"ttl":"15s","ready":true,"serviceAccount":"default"}}`,
];

export const DICTIONARY: Buffer = Buffer.from(SAMPLES.join(""));
