/** What sidecars have seen: callers that still come in plaintext, and calls that leave the mesh. */
import Type, { type TSchema } from "typebox";
import { pauses } from "../../../core/slices.ts";
import { CLOSED } from "../../../resources/schema-parts.ts";
import { outsideCallers } from "../../observed/outside-calls.ts";
import { plaintextCallers } from "../../observed/plaintext.ts";
import type { Api } from "../api.ts";
import { answers } from "../documentation.ts";
import { sendLong } from "../long-list.ts";
import type { ApiOptions } from "../options.ts";
import { readsOf } from "../rights/access.ts";
import { principalOf } from "../rights/authentication.ts";
import { NO_QUERY } from "./route-parts.ts";

const WALL = Type.Integer({ description: "milliseconds since the Unix epoch" });

/** The shape of PlaintextCallers in control-plane/observed/plaintext.ts. */
const PLAINTEXT_STATUS: TSchema = Type.Object(
  {
    now: WALL,
    dropped: Type.Integer({
      description:
        "at most so many calls, of whichever caller, found no room in the last hour and are not judged",
    }),
    callers: Type.Array(
      Type.Object(
        {
          namespace: Type.String({ description: "of the workload called" }),
          workload: Type.String({ description: "its name" }),
          address: Type.String({ description: "of the caller" }),
          port: Type.Integer({ description: "of the application" }),
          calls: Type.Integer(),
          first: WALL,
          last: WALL,
        },
        CLOSED,
      ),
    ),
  },
  CLOSED,
);

/** The shape of OutsideCallers in control-plane/observed/outside-calls.ts. */
const EGRESS_STATUS: TSchema = Type.Object(
  {
    now: WALL,
    dropped: Type.Integer({
      description: "at most so many calls found no room in the last hour",
    }),
    callers: Type.Array(
      Type.Object(
        {
          namespace: Type.String({
            description: "of the workload that called",
          }),
          workload: Type.String({ description: "its name" }),
          serviceAccount: Type.String({ description: "its account" }),
          verdict: Type.String({
            description:
              "external: through an external Service; passed: past all Services; refused: by REGISTRY_ONLY",
          }),
          service: Type.String({
            description: "NAMESPACE/NAME of the external Service, or empty",
          }),
          host: Type.String({
            description: "name or address; empty: many places together",
          }),
          port: Type.Integer(),
          name: Type.String({
            description: "host that calls to an address say they are for",
          }),
          calls: Type.Integer(),
          first: WALL,
          last: WALL,
        },
        CLOSED,
      ),
    ),
  },
  CLOSED,
);

export function addObservedRoutes(api: Api, options: ApiOptions): void {
  addPlaintext(api, options);
  addEgress(api, options);
}

function addEgress(api: Api, { outside, clock }: ApiOptions): void {
  api.get(
    "/status/egress",
    {
      config: { callers: "any-token", long: true },
      schema: {
        tags: ["mesh"],
        operationId: "getOutsideCallers",
        summary:
          "Calls of workloads to places outside the mesh within the last hour, let through or refused",
        querystring: NO_QUERY,
        response: answers({ 200: EGRESS_STATUS }, 429),
      },
    },
    async (request, reply) => {
      const { callers, dropped } = outsideCallers(
        outside,
        readsOf(principalOf(request)),
      );
      const body = { now: clock.wall(), dropped, callers };
      return sendLong(reply, body, "callers", clock);
    },
  );
}

function addPlaintext(
  api: Api,
  { observed, mesh, clock }: Pick<ApiOptions, "observed" | "mesh" | "clock">,
): void {
  api.get(
    "/status/plaintext",
    {
      config: { callers: "any-token", long: true },
      schema: {
        tags: ["mesh"],
        operationId: "getPlaintextCallers",
        summary:
          "Callers without a certificate within the last hour, of ports that take mTLS as well (PERMISSIVE)",
        querystring: NO_QUERY,
        response: answers({ 200: PLAINTEXT_STATUS }, 429),
      },
    },
    async (request, reply) => {
      const { mesh: view } = await mesh.current();
      const { callers, dropped } = await plaintextCallers(
        observed,
        view,
        readsOf(principalOf(request)),
        pauses(clock),
      );
      const body = { now: clock.wall(), dropped, callers };
      return sendLong(reply, body, "callers", clock);
    },
  );
}
