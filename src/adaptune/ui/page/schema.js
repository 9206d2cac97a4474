/** The fields of a recipe, from its JSON schema. Knows no elements. */

/** Sections whose first line names a part of a catalogue. */
const PARTS = ["task", "method", "head", "approach"];
/** In which they are asked for; what most people set comes first. */
export const SECTIONS = ["task", "data", "model", "method", "train", "head", "approach", "evaluate", "bundle"];

/** `{names, usual, fields, help}` of a section: the parts that can be chosen, the one without a choice, its fields. */
export function sectionOf(schema, section, chosen) {
  const rule = schema.properties[section];
  const choices = rule.anyOf ?? [rule];
  const names = PARTS.includes(section) ? choices.find((one) => one.enum)?.enum ?? [] : [];
  const definitions = choices.filter((one) => one.$ref).map((one) => resolved(schema, one));
  // A part that needs no name is the one that holds where none is named; a head follows its task.
  const usual = section === "head" ? undefined : definitions.find((one) => !one.required?.includes("name"))?.properties.name?.const;
  const name = chosen ?? (names.length ? usual : undefined);
  const found = names.length ? definitions.find((one) => one.properties.name?.const === name) : definitions[0];
  const fields = Object.entries(found?.properties ?? {}).filter(([, of]) => of.const === undefined).map(([name, of]) => fieldOf(schema, name, of, found));
  return { names, usual: names.length ? usual : undefined, fields, help: rule.description ?? "" };
}

/** `{name, help, fallback, needed, kind, options, type}`; kind: choice, number, text, mapping or other. */
function fieldOf(schema, name, rule, above) {
  const rules = (rule.anyOf ?? [rule]).map((one) => (one.$ref ? resolved(schema, one) : one));
  const types = new Set(rules.map((one) => one.type).filter(Boolean));
  const options = rules.flatMap((one) => one.enum ?? (one.const === undefined ? [] : [one.const])).concat(types.has("boolean") ? [true, false] : []);
  types.delete("null");
  const scalar = [...types].every((one) => ["string", "number", "integer", "boolean"].includes(one));
  const free = rules.some((one) => !one.enum && one.const === undefined && ["string", "number", "integer"].includes(one.type));
  const kind = options.length && !free ? "choice" : scalar ? (types.has("string") ? "text" : "number") : types.has("object") && rules.some((one) => one.additionalProperties) ? "mapping" : "other";
  return { name, help: (rule.description ?? "").replaceAll("\n", " "), fallback: rule.default, needed: (above.required ?? []).includes(name), kind, options, types };
}

function resolved(schema, rule) {
  return schema.$defs[rule.$ref.split("/").pop()];
}

/** What was typed, as a value; undefined: nothing, the default holds. A value that does not read is kept as text. */
export function read(text, { kind, options, types }) {
  const plain = text.trim();
  if (!plain) return undefined;
  if (kind === "choice") return options.find((one) => String(one) === plain);
  if (kind === "mapping") return mapping(text);
  if (kind === "other") return parsed(plain);
  const number = Number(plain);
  const numeric = types.has("number") || types.has("integer");
  return numeric && Number.isFinite(number) ? number : plain;
}

/** A value as it is typed. */
export function written(value, { kind }) {
  if (value === undefined || value === null) return "";
  if (kind === "mapping" && typeof value === "object") return Object.entries(value).map(([key, one]) => `${key}: ${one}`).join("\n");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function mapping(text) {
  const pairs = text.split("\n").filter((line) => line.trim()).map((line) => {
    const [key, ...rest] = line.split(":");
    return [key.trim(), scalar(rest.join(":").trim())];
  });
  return pairs.length ? Object.fromEntries(pairs) : undefined;
}

function scalar(text) {
  return /^\d+$/.test(text) ? Number(text) : text;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The values of a section, `lora` as `{name: lora}`. */
export function sectionIn(values, section) {
  const found = values[section];
  return typeof found === "string" ? { name: found } : found !== null && typeof found === "object" ? found : {};
}

/** All values with one of them changed, in the order of the schema; sections and parts without settings are short. */
export function changed(schema, values, section, name, value) {
  const of = { ...sectionIn(values, section), [name]: value };
  if (value === undefined) delete of[name];
  // Another part has other settings.
  const next = PARTS.includes(section) && name === "name" ? (value === undefined ? {} : { name: value }) : of;
  const keys = Object.keys(next);
  const short = keys.length === 1 && keys[0] === "name" ? next.name : next;
  const all = { ...values, [section]: keys.length ? short : undefined };
  const order = [...Object.keys(schema.properties), ...Object.keys(all)];
  return Object.fromEntries([...new Set(order)].filter((key) => all[key] !== undefined).map((key) => [key, all[key]]));
}
