/** One rule of an AuthorizationPolicy as a test: from, to and when, all of which have to match. */
import type {
  AuthorizationCondition,
  AuthorizationOperation,
  AuthorizationPolicyResource,
  AuthorizationRule,
  AuthorizationSource,
} from "../../resources/authorization-policy/spec.ts";
import { httpAttributes } from "../../resources/authorization-policy/http-attributes.ts";
import {
  claimPathOf,
  conditionKeyOf,
  headerOf,
  type ConditionKey,
} from "../../resources/authorization-policy/conditions.ts";
import {
  AUDIENCES,
  claim,
  DESTINATION_IP,
  HOST,
  METHOD,
  NAMESPACE,
  PATH,
  PORT,
  PRESENTER,
  principal,
  remoteIp,
  REQUEST_PRINCIPAL,
  requestHeader,
  SERVER_NAME,
  serviceAccount,
  SOURCE_IP,
  trustDomain,
} from "./attributes.ts";
import { all, any, lists, ofHttp, type Attribute, type Test } from "./tests.ts";

export interface RuleContext {
  /** The rule is of a DENY. */
  readonly denies: boolean;
  /** The policy's. */
  readonly namespace: string;
  /** The mesh's, and its aliases; none: every trust domain is as it is written. */
  readonly trustDomains: readonly string[];
  /** Proxies before the mesh that add themselves to X-Forwarded-For. */
  readonly trustedHops: number;
}

export function compileRule(
  rule: AuthorizationRule,
  context: RuleContext,
): Test {
  const { from, to, when } = rule;
  const test = all([
    any(
      "from",
      from?.map(({ source }) => compileSource(source, context)),
    ),
    any(
      "to",
      to?.map(({ operation }) => compileOperation(operation, context)),
    ),
    ...(when ?? []).map((condition) => compileCondition(condition, context)),
  ]);
  // Over TCP an ALLOW's rule with a field of HTTP anywhere is ignored as a whole (Istio), also where another operation has none.
  return !context.denies && httpAttributes(rule).length > 0
    ? ofHttp(test, false)
    : test;
}

/** Names of the headers that the rules of a policy read, as they write them. */
export function headersRead({
  spec,
}: AuthorizationPolicyResource): readonly string[] {
  return (spec.rules ?? []).flatMap(({ when = [] }) =>
    when.flatMap(({ key }) => headerOf(key) ?? []),
  );
}

function compileSource(
  source: AuthorizationSource,
  { denies, namespace, trustedHops, trustDomains }: RuleContext,
): Test {
  const principals = principal(trustDomains);
  const domains = trustDomain(trustDomains);
  const tokens = lists(
    REQUEST_PRINCIPAL,
    source.requestPrincipals,
    source.notRequestPrincipals,
  );
  const account = serviceAccount(namespace);
  const remote = remoteIp(trustedHops);
  return all([
    ...lists(principals, source.principals, source.notPrincipals),
    ...lists(NAMESPACE, source.namespaces, source.notNamespaces),
    ...lists(account, source.serviceAccounts, source.notServiceAccounts),
    ...lists(domains, source.trustDomains, source.notTrustDomains),
    ...lists(SOURCE_IP, source.ipBlocks, source.notIpBlocks),
    ...lists(remote, source.remoteIpBlocks, source.notRemoteIpBlocks),
    ...(tokens.length === 0 ? [] : [ofHttp(all(tokens), denies)]),
  ]);
}

function compileOperation(
  operation: AuthorizationOperation,
  { denies }: RuleContext,
): Test {
  const ports = lists(PORT, operation.ports, operation.notPorts);
  const http = [
    ...lists(METHOD, operation.methods, operation.notMethods),
    ...lists(HOST, operation.hosts, operation.notHosts),
    ...lists(PATH, operation.paths, operation.notPaths),
  ];
  return http.length === 0
    ? all(ports)
    : all([...ports, ofHttp(all(http), denies)]);
}

function compileCondition(
  { key, values, notValues }: AuthorizationCondition,
  context: RuleContext,
): Test {
  const both = (attribute: Attribute): Test =>
    all(lists(attribute, values, notValues, context.denies));
  const header = headerOf(key);
  if (header !== undefined)
    return ofHttp(both(requestHeader(header)), context.denies);
  const path = claimPathOf(key);
  if (path !== undefined) return ofHttp(both(claim(path)), context.denies);
  const known = conditionKeyOf(key);
  return known === undefined
    ? unknownKey(key, context.denies)
    : known.startsWith("request.")
      ? ofHttp(both(conditionAttribute(known, context)), context.denies)
      : both(conditionAttribute(known, context));
}

/** The kind's check refuses it. Where it comes through all the same, it opens nothing. */
function unknownKey(key: string, denies: boolean): Test {
  const meets = (): boolean => denies;
  return { meets, why: () => `${key} is not known here`, tells: meets };
}

function conditionAttribute(
  key: ConditionKey,
  { namespace, trustedHops, trustDomains }: RuleContext,
): Attribute {
  switch (key) {
    case "source.ip":
      return SOURCE_IP;
    case "remote.ip":
      return remoteIp(trustedHops);
    case "source.namespace":
      return NAMESPACE;
    case "source.principal":
      return principal(trustDomains);
    case "source.serviceAccount":
      return serviceAccount(namespace);
    case "source.trustDomain":
      return trustDomain(trustDomains);
    case "destination.ip":
      return DESTINATION_IP;
    case "destination.port":
      return PORT;
    case "connection.sni":
      return SERVER_NAME;
    case "request.auth.principal":
      return REQUEST_PRINCIPAL;
    case "request.auth.audiences":
      return AUDIENCES;
    case "request.auth.presenter":
      return PRESENTER;
  }
}
