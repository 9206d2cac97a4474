/** Places in texts. The server counts characters as Unicode does; JavaScript counts some of them (emoji) twice. */

/** The characters of a text, by which the server's `start` and `end` count. */
export function characters(text) {
  return Array.from(text);
}

/** A text in pieces: `{text}` between spans, `{text, span}` for each; spans are `{start, end}` in characters. */
export function pieces(text, spans) {
  const all = characters(text);
  const found = [];
  let end = 0;
  const add = (from, to, span) => {
    if (to > from) found.push({ text: all.slice(from, to).join(""), span });
  };
  for (const span of [...spans].sort((one, other) => one.start - other.start)) {
    if (span.start < end) continue;
    add(end, span.start);
    add(span.start, span.end, span);
    end = span.end;
  }
  add(end, all.length);
  return found;
}

const TAG = /<(\/?)(e[12])>/g;

/** A text without its marks <e1>..</e1>, <e2>..</e2>, and `{name, start, end}` of each that is whole, in characters. */
export function withoutMarks(text) {
  const open = {};
  const spans = [];
  let plain = "";
  let end = 0;
  for (const tag of text.matchAll(TAG)) {
    plain += text.slice(end, tag.index);
    end = tag.index + tag[0].length;
    const place = characters(plain).length;
    if (!tag[1]) open[tag[2]] = place;
    else if (tag[2] in open) spans.push({ name: tag[2], start: open[tag[2]], end: place });
  }
  return { text: plain + text.slice(end), spans };
}

/** The text with one of the two marks around a selection (in JavaScript's places), and gone from wherever it was. */
export function mark(text, name, start, end) {
  const old = new RegExp(`</?${name}>`, "g");
  let [before, inside, after] = [text.slice(0, start), text.slice(start, end), text.slice(end)];
  inside = inside.replaceAll(TAG, "");
  const [left, right] = [inside.match(/^\s*/)[0], inside.match(/\s*$/)[0]];
  const word = inside.trim();
  if (!word) return text;
  [before, after] = [before.replace(old, ""), after.replace(old, "")];
  return `${before}${left}<${name}>${word}</${name}>${right}${after}`;
}

// As adaptune/core/words.py splits a plain text.
const UNSPACED =
  "\\u3040-\\u30ff\\u31f0-\\u31ff\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\\u{20000}-\\u{3ffff}" +
  "\\u0e00-\\u0eff\\u1000-\\u109f\\u1780-\\u17ff";
const MARKS =
  "\\u0300-\\u036f\\u0591-\\u05c7\\u0610-\\u061a\\u064b-\\u065f\\u0900-\\u0903\\u093a-\\u0963\\u0980-\\u0dff\\u200d";
const WORD = new RegExp(`[${UNSPACED}]|(?:(?![${UNSPACED}])[\\p{L}\\p{N}_]|[${MARKS}])+|[^\\p{L}\\p{N}_\\s]`, "gu");

/** The words of a plain text. */
export function split(text) {
  return text.match(WORD) ?? [];
}

/** One argument for a shell. */
export function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
