/** Opens a mesh for measurement: all of its processes run, and its Service has two instances. */
import { chmod, mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../../src/core/errors.ts";
import { makeNetwork, whyNoHosts } from "../../test/support/meshes/hosts.ts";
import { Bed } from "./bed.ts";
import {
  CALLEES,
  NAMESPACE,
  PORTS,
  SERVICE,
  type Surroundings,
} from "./layout.ts";
import type { MadPlane } from "./mad-plane.ts";
import type { Oddity } from "./odd-machine.ts";

/** A certificate lives as long as is said, or as it does by default. */
function resources(certificateTTL: string | undefined): string {
  const ttl =
    certificateTTL === undefined ? "" : `, certificateTTL: ${certificateTTL}`;
  return `apiVersion: mesh.wherry.dev/v1alpha1
kind: Mesh
metadata: { name: default }
spec: { mtls: { mode: STRICT${ttl} }, authorization: { defaultAction: ALLOW } }
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: ${SERVICE}, namespace: ${NAMESPACE} }
spec:
  ports: [{ name: http, port: 80, targetPort: ${PORTS.application}, appProtocol: http }]
  selector: { app: ${SERVICE} }
`;
}

/** Throws UserError where it cannot. */
export async function openBed(
  around: Surroundings,
  odd?: Oddity,
  certificateTTL?: string,
): Promise<Bed> {
  return openWith(around, odd, async (bed) => {
    await bed.startControlPlane();
    await bed.apply(resources(certificateTTL));
    return {
      callees: await bed.enrolmentToken(SERVICE, CALLEES),
      caller: await bed.enrolmentToken("caller", ["caller"]),
    };
  });
}

/** The same with a control plane that can go mad. */
export async function openMadBed(
  around: Surroundings,
): Promise<{ readonly bed: Bed; readonly plane: MadPlane }> {
  let plane: MadPlane | undefined;
  const bed = await openWith(around, undefined, async (opening) => {
    plane = await opening.startMadPlane();
    return { callees: plane.token, caller: plane.callerToken };
  });
  if (plane === undefined) throw new Error("no control plane");
  return { bed, plane };
}

/** `startPlane` gives tokens. */
async function openWith(
  around: Surroundings,
  odd: Oddity | undefined,
  startPlane: (
    bed: Bed,
  ) => Promise<{ readonly callees: string; readonly caller: string }>,
): Promise<Bed> {
  const why = whyNoHosts();
  if (why !== undefined) throw new UserError(why);
  const directory = await mkdtemp(join(around.directory, "mesh-"));
  await chmod(directory, 0o711);
  const network = makeNetwork(["plane", "caller", ...CALLEES]);
  let bed: Bed | undefined;
  try {
    bed = new Bed(around, directory, network, odd);
    const opened = bed;
    const { callees, caller } = await startPlane(bed);
    await Promise.all(CALLEES.map((name) => opened.startApplication(name)));
    await Promise.all([
      bed.startSidecar("caller", caller),
      ...CALLEES.map((name) => opened.startSidecar(name, callees)),
    ]);
    return bed;
  } catch (thrown) {
    await (bed ?? network).close();
    throw thrown;
  }
}
