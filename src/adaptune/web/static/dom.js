/** Elements, made of text and never of HTML. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. Of the attributes, `on` holds listeners, `vars` CSS variables, `props` properties; true is an attribute
 * without a value, and false, null and undefined are none. Children that are no elements become text.
 */
export function make(tag, attributes = {}, ...children) {
  return finished(document.createElement(tag), attributes, children);
}

/** The same within a drawing. */
export function draw(tag, attributes = {}, ...children) {
  return finished(document.createElementNS(SVG, tag), attributes, children);
}

function finished(element, { on = {}, vars = {}, props = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  for (const [event, listener] of Object.entries(on)) element.addEventListener(event, listener);
  for (const [name, value] of Object.entries(vars)) element.style.setProperty(name, value);
  Object.assign(element, props);
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function byId(id) {
  return document.getElementById(id);
}

/** A field with its label above. */
export function field(label, input, hint) {
  return make("label", { class: "field" }, make("span", {}, label), input, hint ? make("small", {}, hint) : null);
}

/** A choice between [value, text] pairs. */
export function choice(pairs, chosen, attributes = {}) {
  const options = pairs.map(([value, text]) => make("option", { value, selected: value === chosen }, text));
  return make("select", attributes, options);
}

/** Put a text into the clipboard; where the browser gives none, it is selected instead. */
export async function copy(text, shown) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return true;
  }
  getSelection().selectAllChildren(shown);
  return document.execCommand("copy");
}

/** Let the browser save a text as a file. */
export function download(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Call `act` on Ctrl+Enter or Cmd+Enter, not while an input method is at work. */
export function onSend(element, act) {
  element.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) {
      event.preventDefault();
      act();
    }
  });
}
