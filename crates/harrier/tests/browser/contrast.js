// Every text on the page whose contrast with what is behind it is below WCAG AA: 4.5, or 3 where it is large. The body of a
// function; gives a list of sentences.
const parse = (text) => {
  let parts = text.match(/[\d.]+(e-\d+)?/g)?.map(Number) ?? [0, 0, 0, 0];
  if (text.startsWith("color(srgb")) parts = [...parts.slice(0, 3).map((part) => part * 255), ...parts.slice(3)];
  return parts.length > 3 ? parts : [...parts, 1];
};
const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a), 1];
const light = ([r, g, b]) => {
  const part = (value) => (value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
};
const contrast = (one, other) => {
  const [a, b] = [light(one) + 0.05, light(other) + 0.05];
  return a > b ? a / b : b / a;
};
const ground = (element) => {
  const box = element.closest("svg g.node")?.querySelector("rect");
  if (box) return parse(getComputedStyle(box).fill);
  const layers = [];
  for (let at = element; at; at = at.parentElement) {
    const layer = parse(getComputedStyle(at).backgroundColor);
    layers.push(layer);
    if (layer[3] === 1) break;
  }
  const canvas = getComputedStyle(document.documentElement).colorScheme === "dark" ? [18, 18, 18, 1] : [255, 255, 255, 1];
  return layers.reverse().reduce((below, layer) => over(layer, below), canvas);
};
const found = [];
const check = (element, colour, text) => {
  const style = getComputedStyle(element);
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  const behind = ground(element);
  const reached = contrast(over(parse(colour), behind), behind);
  if (reached < (large ? 3 : 4.5)) {
    found.push(`${reached.toFixed(2)} ${colour} on ${behind.map(Math.round)}: <${element.localName} class="${element.className.baseVal ?? element.className}"> ${text.slice(0, 40)}`);
  }
};
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const element = texts.currentNode.parentElement;
  const text = texts.currentNode.textContent.trim();
  if (!text || element.closest("title,datalist,script,option") || !element.checkVisibility()) continue;
  check(element, element.closest("svg") ? getComputedStyle(element).fill : getComputedStyle(element).color, text);
}
for (const field of document.querySelectorAll("input,select,textarea")) {
  if (field.type === "hidden" || !field.checkVisibility()) continue;
  check(field, getComputedStyle(field).color, `field ${field.name}`);
  if (field.placeholder) check(field, getComputedStyle(field, "::placeholder").color, field.placeholder);
}
return found;
