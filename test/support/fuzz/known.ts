/** Where two listeners differ on purpose: the whole list, each with its reason. */
import type { Seen } from "./judge.ts";
import type { FuzzRequest } from "./requests/request.ts";

interface Known {
  readonly why: string;
  covers(request: FuzzRequest, one: Seen, two: Seen): boolean;
}

const KNOWN: readonly Known[] = [
  {
    why: "over the link, the target of CONNECT names the port of the callee, and the codes of its refusals come before those of the port",
    covers: ({ method }, one, two) =>
      method === "CONNECT" &&
      refused(one, two) &&
      [one, two].some(({ listener }) => listener.where === "link"),
  },
  {
    why: "https in absolute form, to a place outside the mesh, is refused as such before it is known that nothing may go there",
    covers: ({ absolute }, one, two) =>
      absolute?.scheme === "https" &&
      [one, two].some(
        ({ listener, outcome }) =>
          listener.where === "explicit" && outcome.code === "UNSUPPORTED",
      ),
  },
  {
    why: "an HTTP/1.0 request without a Host goes to the application of a known port, and to no service: a caller's sidecar has nothing to route by",
    covers: ({ versions }, one, two) =>
      versions === "http1" &&
      [one, two].some(({ outcome }) => outcome.arrived[0]?.host === "") &&
      [one, two].some(
        ({ listener, outcome }) =>
          (listener.where === "explicit" ||
            listener.where === "captured outbound") &&
          outcome.code === "BAD_REQUEST",
      ),
  },
  {
    why: "over the link, a head may be larger by what the mesh adds to it",
    covers: (_request, one, two) =>
      [
        [one, two],
        [two, one],
      ].some(
        ([link, other]) =>
          link?.listener.where === "link" &&
          other?.outcome.code === "HEADERS_TOO_LARGE",
      ),
  },
  {
    why: "two Max-Forwards are refused by the first sidecar that counts them: the caller's does before the callee's policy is asked",
    covers: ({ fields }, one, two) =>
      refused(one, two) &&
      fields.filter(([name]) => name.toLowerCase() === "max-forwards").length >
        1,
  },
];

function refused(...all: readonly Seen[]): boolean {
  return all.every(({ outcome }) => outcome.kind === "refused");
}

export function isKnown(request: FuzzRequest, one: Seen, two: Seen): boolean {
  return KNOWN.some((known) => known.covers(request, one, two));
}
