/** The roots of the mesh over the API: which are trusted, how far their rotation is and which sidecars it waits for, and the word that it begins or goes on. */
import Type, { type TSchema } from "typebox";
import { timestamp } from "../../../core/clock.ts";
import { UserError } from "../../../core/errors.ts";
import { fingerprintOf, readCertificates } from "../../../identity/pem.ts";
import { CLOSED } from "../../../resources/schema-parts.ts";
import { recordAct } from "../../audit/audit.ts";
import type { Api } from "../api.ts";
import { authorIn } from "../rights/authentication.ts";
import { answers } from "../documentation.ts";
import { ApiError } from "../errors.ts";
import type { ApiOptions } from "../options.ts";
import { jsonBody, NO_QUERY } from "./route-parts.ts";

const FINGERPRINT = Type.String({
  description: "SHA-256 of the root's DER, in hexadecimal",
});
const TIME = Type.String({ format: "date-time" });

const BEHIND = Type.Object(
  { sidecar: Type.String(), why: Type.String() },
  CLOSED,
);

const TRUST: TSchema = Type.Object(
  {
    serial: Type.Integer({
      description: "of the bundle that sidecars are to have acknowledged",
    }),
    roots: Type.Array(
      Type.Object(
        {
          fingerprint: FINGERPRINT,
          notAfter: TIME,
          issues: Type.Boolean({
            description: "certificates are issued under it now",
          }),
          certificate: Type.String({ description: "PEM" }),
        },
        CLOSED,
      ),
    ),
    external: Type.Optional(
      Type.Array(BEHIND, {
        description:
          "where there are roots of an external issuer: the sidecars that have not acknowledged the roots, or whose certificate is of another root than the one that issues",
      }),
    ),
    sidecars: Type.Integer({
      description: "that are connected, or have a Workload registered",
    }),
    rotation: Type.Optional(
      Type.Object(
        {
          phase: Type.Union(
            ["add", "reissue", "retire"].map((phase) => Type.Literal(phase)),
          ),
          from: FINGERPRINT,
          to: FINGERPRINT,
          startedAt: TIME,
          since: TIME,
          abandoned: Type.Array(Type.String()),
          behind: Type.Array(BEHIND, {
            description: "the sidecars that the phase waits for",
          }),
          fault: Type.Optional(
            Type.String({ description: "why it does not go on besides" }),
          ),
        },
        CLOSED,
      ),
    ),
    last: Type.Optional(
      Type.Object(
        {
          from: FINGERPRINT,
          to: FINGERPRINT,
          startedAt: TIME,
          finishedAt: TIME,
        },
        { ...CLOSED, description: "the rotation that was finished last" },
      ),
    ),
  },
  CLOSED,
);

interface RotationBody {
  readonly abandon?: readonly string[];
  readonly force?: boolean;
}

const ROTATION_BODY: TSchema = Type.Object(
  {
    abandon: Type.Optional(
      Type.Array(Type.String({ minLength: 3, maxLength: 320 }), {
        maxItems: 1000,
        description:
          'sidecars that are not waited for any more, "NAMESPACE/NAME"',
      }),
    ),
    force: Type.Optional(
      Type.Boolean({
        description: "no sidecar that is behind now is waited for any more",
      }),
    ),
  },
  CLOSED,
);

export function addTrustRoutes(api: Api, options: ApiOptions): void {
  const { rotation, store, trust } = options;
  api.get(
    "/trust",
    {
      config: { callers: "administrators" },
      schema: {
        tags: ["mesh"],
        operationId: "getTrust",
        summary: "The roots that the mesh trusts, and their rotation",
        querystring: NO_QUERY,
        response: answers({ 200: TRUST }, 429),
      },
    },
    () => trustBody(options),
  );
  api.post(
    "/trust/rotation",
    {
      config: { callers: "administrators" },
      schema: {
        tags: ["mesh"],
        operationId: "rotateRoot",
        summary:
          "Rotate the root, or go on with the rotation in progress without some sidecars",
        querystring: NO_QUERY,
        body: jsonBody(ROTATION_BODY),
        response: answers({ 200: TRUST }, 409, 413, 415, 422),
      },
    },
    async (request) => {
      const { abandon = [], force = false } = request.body as RotationBody;
      const left = force ? ["all that are behind"] : abandon;
      await recordAct(store, authorIn(request), {
        ...{ verb: left.length > 0 ? "abandon" : "rotate", kind: "Trust" },
        ...{ namespace: "", name: trust.fingerprint },
        ...(left.length > 0 ? { note: left.join(", ") } : {}),
      });
      try {
        if (force) await rotation.abandon("all");
        else if (abandon.length > 0) await rotation.abandon(abandon);
        else await rotation.begin();
      } catch (thrown) {
        if (!(thrown instanceof UserError)) throw thrown;
        throw new ApiError("Conflict", thrown.message);
      }
      return trustBody(options);
    },
  );
}

async function trustBody({ trust, rotation }: ApiOptions): Promise<unknown> {
  const { members, behind, outside, fault } = await rotation.view();
  const { rotation: present, last } = trust;
  return {
    serial: trust.offer.value.serial,
    roots: readCertificates(trust.trustBundle, "root.crt").map((root) => ({
      fingerprint: fingerprintOf(root),
      notAfter: timestamp(root.validToDate.getTime()),
      issues: fingerprintOf(root) === trust.issuerRoot,
      certificate: root.toString(),
    })),
    ...(outside === undefined ? {} : { external: outside }),
    sidecars: members.length,
    ...(present === undefined
      ? {}
      : {
          rotation: {
            ...present,
            startedAt: timestamp(present.startedAt),
            since: timestamp(present.since),
            behind,
            ...(fault === undefined ? {} : { fault }),
          },
        }),
    ...(last === undefined
      ? {}
      : {
          last: {
            ...last,
            startedAt: timestamp(last.startedAt),
            finishedAt: timestamp(last.finishedAt),
          },
        }),
  };
}
