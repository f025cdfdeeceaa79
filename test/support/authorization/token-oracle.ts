/** What Istio's reference reads of a verified token, word for word; nothing of the product is used here. */

export type OracleToken = Readonly<Record<string, unknown>>;

/** Those of the key `request.auth.…`; empty where the token, or the call, has none. */
export function tokenValues(
  token: OracleToken | undefined,
  key: string,
): readonly string[] {
  if (token === undefined) return [];
  switch (key) {
    // "The principal of the authenticated JWT token, constructed from the JWT claims in the format of <iss>/<sub>."
    case "request.auth.principal": {
      const { iss, sub } = token;
      return isName(iss) && isName(sub) ? [`${iss}/${sub}`] : [];
    }
    // "The intended audience(s) of the authenticated JWT token, constructed from the JWT claim <aud>."
    case "request.auth.audiences":
      return textsOf(token["aud"]);
    // "The authorized presenter of the authenticated JWT token, constructed from the JWT claim <azp>."
    case "request.auth.presenter":
      return isName(token["azp"]) ? [token["azp"]] : [];
  }
  // "Supports nested claim."
  const names = key.slice("request.auth.claims[".length, -1).split("][");
  let value: unknown = token;
  for (const name of names) {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      return [];
    value = (value as OracleToken)[name];
  }
  // RFC 8693 4.2: a list of words with spaces between them.
  const isList = key.endsWith("claims[scope]");
  return typeof value === "string" && isList
    ? value.split(" ").filter((word) => word.length > 0)
    : textsOf(value);
}

function isName(value: unknown): value is string {
  return typeof value === "string" && value.length > 0;
}

/** "The value of the claim is string or list of string." */
function textsOf(value: unknown): readonly string[] {
  const texts: string[] = [];
  for (const each of Array.isArray(value) ? (value as unknown[]) : [value])
    if (typeof each === "string") texts.push(each);
  return texts;
}
