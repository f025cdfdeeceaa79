/** How much a test draws, or how long it goes on: `usual` in each run, `long` where WHERRY_LONG=1 asks for it, and what the variable of that name says before both. */
export function drawn(variable: string, usual: number, long: number): number {
  const asked = process.env[variable];
  if (asked !== undefined) return Number(asked);
  return process.env["WHERRY_LONG"] === "1" ? long : usual;
}
