/** The part of oidc-provider that is used here; its own types would be packages more. */
declare module "oidc-provider" {
  import type { RequestListener } from "node:http";

  export class Provider {
    constructor(issuer: string, settings: object);
    callback(): RequestListener;
  }
}
