/** Tables as text: read with their separator found, written so that spreadsheets show them and run nothing. */

const SEPARATORS = [",", "\t", ";"];
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;
/** What spreadsheets take for the beginning of a formula. */
const FORMULA = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/;

/** Rows of cells. Throws an Error, with the line, where a quote is never closed. */
export function parse(text, separator = separatorOf(text)) {
  const rows = [];
  let row = [];
  let place = text.startsWith("\ufeff") ? 1 : 0;
  while (place < text.length) {
    const [cell, end] = text[place] === '"' ? quotedCell(text, place, separator) : plainCell(text, place, separator);
    row.push(cell);
    place = end;
    if (text[place] === separator) {
      place += 1;
      if (place < text.length && !"\r\n".includes(text[place])) continue;
      row.push("");
    }
    if (text[place] === "\r") place += 1;
    if (text[place] === "\n") place += 1;
    if (row.length > 1 || row[0] !== "") rows.push(row);
    row = [];
  }
  return rows;
}

function quotedCell(text, start, separator) {
  let cell = "";
  let place = start + 1;
  for (;;) {
    const quote = text.indexOf('"', place);
    if (quote < 0) throw new Error(`line ${text.slice(0, start).split("\n").length}: a quote is never closed`);
    cell += text.slice(place, quote);
    if (text[quote + 1] !== '"') {
      const [tail, end] = plainCell(text, quote + 1, separator);
      return [cell + tail, end];
    }
    cell += '"';
    place = quote + 2;
  }
}

function plainCell(text, start, separator) {
  let end = start;
  while (end < text.length && text[end] !== separator && text[end] !== "\n" && text[end] !== "\r") end += 1;
  return [text.slice(start, end), end];
}

/** The separator that the first line has most of, outside quotes. */
export function separatorOf(text) {
  const [first] = text.replaceAll(/"[^"]*"/g, "").split("\n", 1);
  const counts = SEPARATORS.map((one) => first.split(one).length);
  return SEPARATORS[counts.indexOf(Math.max(...counts))];
}

/** Rows as RFC 4180 has them; with the mark by which spreadsheets know UTF-8. */
export function write(rows) {
  return `\ufeff${rows.map((row) => row.map(cellOf).join(",")).join("\r\n")}\r\n`;
}

function cellOf(value) {
  if (value === null || value === undefined) return "";
  let text = String(value);
  if (FORMULA.test(text) && !NUMBER.test(text)) text = `'${text}`;
  return /[",;\r\n\t]/.test(text) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text;
}
