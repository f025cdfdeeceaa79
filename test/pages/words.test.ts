/** Messages, comments and pages use the field's words: what a reader has to translate becomes less, and comes back nowhere. */
import t from "tap";
import {
  comments,
  messages,
  otherPages,
  plainPages,
  sentences,
  type Phrase,
} from "../support/repository/phrases.ts";

interface Pattern {
  readonly found: RegExp;
  readonly instead: string;
  /** How many are left, rounded up: lower the number when enough have gone. */
  readonly left: Readonly<Partial<Record<keyof typeof GROUPS, number>>>;
}

const GROUPS = {
  /** README, changelog, guide, glossary, policy on security: these have none. */
  plainPages: plainPages(),
  messages: messages(),
  comments: comments(),
  otherPages: otherPages(),
};

const PATTERNS: Readonly<Record<string, Pattern>> = {
  "X is no Y": {
    found: /(?<!\bthere )\b(?:is|are) no\b(?! longer)/i,
    instead: "invalid X, X is not a Y",
    left: {},
  },
  "is wanted": {
    found: /\b(?:is|are) wanted\b/,
    instead: "expected",
    left: {},
  },
  "a sentence that begins with Of": {
    found: /(?:^|[.:|] |^\s*(?:\/\*\*|\*|\/\/) )Of /,
    instead: "the subject first",
    left: {},
  },
  "he, him, his": {
    found: /\b(?:he|him|his)\b/i,
    instead: "it, its",
    left: {},
  },
  who: {
    found: /\b(?:who|whoever|whom)\b/i,
    instead: "that, which: callers and sidecars are machines",
    left: { messages: 5, comments: 25, otherPages: 40 },
  },
  answer: {
    found: /\banswer(?:s|ed|ing)?\b/i,
    instead: "response, respond",
    left: { messages: 5, comments: 75, otherPages: 40 },
  },
  octet: {
    found: /\boctets?\b(?!-stream| STRING)/i,
    instead: "byte",
    left: {},
  },
  "under way": {
    found: /\bunder way\b/i,
    instead: "in flight",
    left: {},
  },
  mend: {
    found: /\bmend(?:s|ed|ing)?\b/i,
    instead: "fix",
    left: {},
  },
  dear: {
    found: /\bdear(?:er|est)?\b/i,
    instead: "expensive",
    left: {},
  },
  "beside, of two figures": {
    found: /\d\S* beside \d/,
    instead: "compared with",
    left: {},
  },
  "is told": {
    found: /\b(?:is|are) told\b/,
    instead: "is reported",
    left: {},
  },
  "stands in": {
    found: /\bstands? in\b/,
    instead: "is in",
    left: {},
  },
};

for (const [name, { found, instead, left }] of Object.entries(PATTERNS))
  void t.test(`${name}: write ${instead}`, (t) => {
    for (const [group, phrases] of Object.entries(GROUPS)) {
      const matching = phrases.filter(({ text }) => found.test(text));
      t.ok(
        matching.length <= (left[group as keyof typeof GROUPS] ?? 0),
        `${group} has ${matching.length} of at most ${left[group as keyof typeof GROUPS] ?? 0}`,
        { found: matching.map(shown) },
      );
    }
    t.end();
  });

const LONGEST = 20;

void t.test(`sentences have at most ${LONGEST} words`, (t) => {
  const long = sentences().filter(
    ({ text }) =>
      text.split(" ").filter((word) => /\w/.test(word)).length > LONGEST,
  );
  t.strictSame(
    long.map(({ at, text }) => `${at} ${text}`),
    [],
  );
  t.end();
});

function shown({ at, text }: Phrase): string {
  return `${at} ${text.trim().slice(0, 100)}`;
}
