/** Envoy's filter that verifies tokens, as a mesh configures it: a request without one passes, and a token seen before is known. */
import { AUDIENCE, benchToken, ISSUER } from "../token.ts";
import { EXTENSION } from "./envoy-bytes.ts";

/** Tokens that are remembered. */
const CACHED = 1000;

export function tokenFilter(): object {
  return {
    name: "envoy.filters.http.jwt_authn",
    typed_config: {
      "@type": `${EXTENSION}filters.http.jwt_authn.v3.JwtAuthentication`,
      providers: {
        bench: {
          issuer: ISSUER,
          audiences: [AUDIENCE],
          local_jwks: { inline_string: benchToken().jwks },
          jwt_cache_config: { jwt_cache_size: CACHED },
        },
      },
      rules: [
        {
          match: { prefix: "/" },
          requires: {
            requires_any: {
              requirements: [{ provider_name: "bench" }, { allow_missing: {} }],
            },
          },
        },
      ],
    },
  };
}
