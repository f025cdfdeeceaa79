/** What is recorded of the proxy's calls, compiled anew where what says so has changed. */
import type { Steps } from "../../../core/slices.ts";
import { compileTelemetry, type Telemetry } from "../../telemetry/telemetry.ts";
import type { Frame } from "../frame.ts";
import type { HeldRequestAuthentication, HeldTelemetry } from "../held/held.ts";

interface RecordingInput {
  readonly frame: Frame;
  readonly telemetries: readonly HeldTelemetry[];
  readonly requestAuthentications: readonly HeldRequestAuthentication[];
}

export interface Recording {
  readonly input: RecordingInput;
  readonly telemetry: Telemetry;
  readonly warnings: readonly string[];
}

/** The one of before where it was made of the same. */
export function* compileRecording(
  input: RecordingInput,
  before: Recording | undefined,
): Steps<Recording> {
  const { frame, telemetries, requestAuthentications } = input;
  if (
    before?.input.frame === frame &&
    before.input.telemetries === telemetries &&
    before.input.requestAuthentications === requestAuthentications
  )
    return before;
  const telemetry = yield* compileTelemetry(
    telemetries.map(({ resource }) => resource),
    frame.self,
    {
      samplingPercentage: frame.mesh.defaults.tracing.randomSamplingPercentage,
      tokenHeaders: tokenHeadersOf(requestAuthentications),
    },
  );
  return {
    input,
    telemetry,
    warnings: telemetry.overruled.map(
      ({ loser, winner }) =>
        `Telemetry ${loser} is not in force: ${winner} is older`,
    ),
  };
}

function tokenHeadersOf(
  policies: readonly HeldRequestAuthentication[],
): ReadonlySet<string> {
  return new Set(
    policies.flatMap(({ resource }) =>
      (resource.spec.jwtRules ?? []).flatMap(({ fromHeaders = [] }) =>
        fromHeaders.map(({ name }) => name.toLowerCase()),
      ),
    ),
  );
}
