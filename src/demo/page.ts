/** The shop as a page for browsers. */

export function shopPage(parts: Readonly<Record<string, unknown>>): string {
  const cards = Object.entries(parts)
    .map(
      ([name, content]) =>
        `<section><h2>${escapeHtml(name)}</h2><pre>${escapeHtml(JSON.stringify(content, undefined, 2))}</pre></section>`,
    )
    .join("\n");
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The wherry shop</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 64rem; padding: 0 1rem; color: #1c2733; background: #f5f7f9 }
  main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)) }
  section { background: #fff; border: 1px solid #d9e0e6; border-radius: 8px; padding: 0 1rem }
  h2 { font-size: 1rem } pre { font-size: .8rem; overflow-x: auto }
</style>
<h1>The wherry shop</h1>
<p>Four services made this page; each card says which instance did.</p>
<main>
${cards}
</main>
</html>
`;
}

function escapeHtml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
