// Writes the drawing templates of the assembled pictures: adventurer.jsonl and open-peeps.jsonl.
//
//   npm install @dicebear/core@9.4.3 @dicebear/collection@9.4.3
//   node dicebear.mjs OUT_DIR [COUNT_PER_STYLE]
//
// Run it in the folder that holds node_modules. Each line is {"id", "style", "tags", "svg"}; the SVG is the
// artist's drawing with its fill colours replaced by placeholders ({hair}, {skin}, ...), a background of ours
// behind it, and solid black areas opened into an outline and a fill, so that they can be coloured.
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { background, load, mulberry32 } from './templates.mjs';

const { createAvatar } = await load('core/lib/index.js');
const STYLES = { adventurer: await load('adventurer/lib/index.js'), 'open-peeps': await load('open-peeps/lib/index.js') };
const parts = async (style, part) => (await load(`${style}/lib/components/${part}.js`))[part];

// Values that stand for a placeholder while the style's own code assembles the picture.
const SENTINEL = { hair: '0100fe', skin: '0200fe', clothes: '0300fe' };
const FIXED = [ // the artist's constant colours: what may vary gets a name, near-black ink becomes ink
  [/#(E57E5E|E67E5E|C0ACEB|9DDADB)/gi, '{accent}'],
  [/#(D31E1E|D32020)/gi, '{lips}'],
  [/#(22252B|231F20)/gi, '#000'],
];

let opened = 0;
/** One black path drawn again inside itself: `filled` (a part of its outline) in colour `name`, then a black inner edge. */
function openPath(path, filled, name, outline) {
  const id = `o${opened++}`;
  const shape = path.replace(/ fill="#000"/, '').replace('<path', `<path id="${id}"`);
  const whole = filled === / d="([^"]*)"/.exec(path)[1];
  const fill = `fill="{${name}}"`;
  const edge = `stroke="#000" stroke-width="${2 * outline}" stroke-linejoin="round"`;
  const inside = whole
    ? `<use href="#${id}" ${fill} ${edge} clip-path="url(#c${id})"/>`
    : `<g clip-path="url(#c${id})"><path d="${filled}" ${fill}/><use href="#${id}" fill="none" ${edge}/></g>`;
  return `<defs>${shape}<clipPath id="c${id}"><use href="#${id}"/></clipPath></defs><use href="#${id}" fill="#000"/>${inside}`;
}

const BLACK_PATH = /<path\b[^>]*fill="#000"[^>]*\/>/g;
const flatten = (svg) => svg.replace(/<g fill="#000">(.*?)<\/g>/gs, (_, inner) => inner.replaceAll('<path ', '<path fill="#000" '));
const longest = (texts) => texts.reduce((a, b) => (b.length > a.length ? b : a));
const outlineOf = (path) => / d="([^"]*)"/.exec(path)[1];

/** Opens every black path. */
const openAll = (name, outline) => (svg) =>
  flatten(svg).replace(BLACK_PATH, (path) => openPath(path, outlineOf(path), name, outline));

/** Opens the largest piece of the largest black path; smaller pieces (chin, neck, ear) are contours and stay black. */
const openLargest = (name, outline) => (svg) => {
  const flat = flatten(svg);
  const path = longest(flat.match(BLACK_PATH));
  return flat.replace(path, openPath(path, longest(outlineOf(path).split(/(?<=[zZ])(?=M)/)), name, outline));
};

/** Opens the last path alone. */
const openLast = (name, outline) => (svg) => {
  const at = svg.lastIndexOf('<path');
  return svg.slice(0, at) + openAll(name, outline)(svg.slice(at));
};

/** Changes how a style draws the named variants of a part. */
function rework(table, names, change) {
  for (const name of names) {
    const draw = table[name];
    table[name] = (...args) => change(draw(...args));
  }
}

const OUTLINE = 9; // user units, about the artist's own contour
const THICK = 12; // for heads whose face contour is one piece with the hair and about 24 units thick
const IRIS = 4.5;

const head = await parts('open-peeps', 'head');
const colored = 'bangs bear cornrows grayBun grayMedium grayShort mediumBangs2 mohawk mohawk2 noHair1 noHair2 noHair3 short4 turban'.split(' ');
const hats = ['hatHip', 'hijab'];
const thick = ['afro', 'bantuKnots', 'cornrows2', 'flatTop', 'hatBeanie', 'pomp', 'shaved3', 'short2'];
rework(head, Object.keys(head).filter((name) => ![...colored, ...hats, ...thick].includes(name)), openLargest('hair', OUTLINE));
rework(head, thick, openLargest('hair', THICK));
rework(head, hats, openLargest('clothes', OUTLINE));
rework(await parts('open-peeps', 'facialHair'), ['full2', 'full3', 'goatee2'], openLargest('hair', OUTLINE));
rework(await parts('open-peeps', 'accessories'), ['sunglasses', 'sunglasses2', 'eyepatch'], openAll('accent', OUTLINE));
rework(await parts('adventurer', 'glasses'), ['variant01'], openAll('accent', OUTLINE));
const roundPupils = ['01', '02', '03', '10', '15', '24', '25', '26'].map((number) => `variant${number}`); // their last path
rework(await parts('adventurer', 'eyes'), roundPupils, openLast('eyes', IRIS));

// [part, probability in percent]; the first part goes round its variants, so that each occurs about equally often
const PLAN = {
  adventurer: [['hair', 100], ['eyes', 100], ['eyebrows', 100], ['mouth', 100], ['glasses', 18], ['features', 15], ['earrings', 20]],
  'open-peeps': [['head', 100], ['face', 100], ['facialHair', 14], ['accessories', 24], ['mask', 4]],
};
const LEFT_OUT = ['short19']; // drawn with a translucent fill: its regions have no exact colour
const COLORS = {
  adventurer: { hairColor: [SENTINEL.hair], skinColor: [SENTINEL.skin] },
  'open-peeps': { headContrastColor: [SENTINEL.hair], skinColor: [SENTINEL.skin], clothingColor: [SENTINEL.clothes] },
};

function choose(style, index, random) {
  const schema = STYLES[style].schema.properties;
  const options = { seed: 'x', ...COLORS[style] };
  const tags = [`style:${style}`];
  for (const [part, probability] of PLAN[style]) {
    const variants = schema[part].items.enum.filter((name) => !LEFT_OUT.includes(name)).sort();
    const drawn = Math.floor(random() * variants.length);
    const used = random() * 100 < probability;
    const variant = variants[part === PLAN[style][0][0] ? index % variants.length : drawn];
    options[part] = [variant];
    if (schema[`${part}Probability`]) options[`${part}Probability`] = used ? 100 : 0;
    if (used) tags.push(`${part}:${variant}`);
  }
  return { options, tags };
}

function template(style, index, options) {
  opened = 0;
  let svg = createAvatar(STYLES[style], options).toString();
  const side = /viewBox="0 0 (\d+)/.exec(svg)[1];
  svg = svg.replace(/<metadata.*?<\/metadata>/s, '').replace(/<mask id="viewboxMask">.*?<\/mask>/s, '');
  svg = svg.replace(' mask="url(#viewboxMask)"', '').replace(' shape-rendering="auto"', '');
  for (const [name, value] of Object.entries(SENTINEL)) svg = svg.replaceAll(`#${value}`, `{${name}}`);
  for (const [pattern, replacement] of FIXED) svg = svg.replace(pattern, replacement);
  return svg.replace(/<svg[^>]*>/, (root) => root + background(index, side));
}

const [out, count = '100'] = process.argv.slice(2);
for (const style of Object.keys(PLAN)) {
  const random = mulberry32(20);
  const drawings = new Map();
  for (let index = 0; drawings.size < Number(count); index++) {
    const { options, tags } = choose(style, index, random);
    const svg = template(style, index, options);
    const key = svg.replace(/<linearGradient.*?<\/linearGradient>/s, ''); // the same drawing on another background is no new one
    const id = createHash('sha256').update(key).digest('hex').slice(0, 10);
    if (!drawings.has(id)) drawings.set(id, JSON.stringify({ id, style, tags, svg }));
  }
  writeFileSync(join(out, `${style}.jsonl`), [...drawings.keys()].sort().map((id) => drawings.get(id) + '\n').join(''));
}
