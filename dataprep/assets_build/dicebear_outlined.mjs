// Writes drawing templates of further DiceBear styles: micah, big-smile, big-ears, toon-head, miniavs and dylan.
//
//   npm install @dicebear/core@9.4.3 @dicebear/collection@9.4.3
//   node dicebear_outlined.mjs OUT_DIR [COUNT_PER_STYLE]
//
// Run it in the folder that holds node_modules. Lines as dicebear.mjs writes them. These artists fill without ink (micah
// alone draws lines): every shape gets a black outline here, whose width differs from drawing to drawing, so that line art
// of many strokes is among them. Translucent shadows go, since a region must have one exact colour.
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { background, load, mulberry32 } from './templates.mjs';

const { createAvatar } = await load('core/lib/index.js');

// Values that stand for a placeholder while the style's own code assembles the picture.
const SENTINEL = { hair: '0100fe', skin: '0200fe', clothes: '0300fe', accent: '0400fe' };
const { hair, skin, clothes, accent } = SENTINEL;
const INK = '000000';
const STYLES = {
  micah: {
    baseColor: skin, hairColor: hair, facialHairColor: hair, shirtColor: clothes, earringColor: accent,
    glassesColor: INK, eyeShadowColor: skin, eyebrowsColor: INK, eyesColor: INK, mouthColor: INK,
  },
  'big-smile': { skinColor: skin, hairColor: hair },
  'big-ears': { skinColor: skin, hairColor: hair },
  'toon-head': { skinColor: skin, hairColor: hair, clothesColor: clothes },
  miniavs: { skinColor: skin, hairColor: hair, bodyColor: clothes },
  dylan: { skinColor: skin, hairColor: hair, backgroundColor: 'transparent' },
};
const STROKES = [1 / 200, 1 / 76]; // of the drawing's side: thinnest and thickest outline

// Shapes and groups that are not opaque, and what only clips or masks.
const SHADOWS = [
  /<(path|rect|ellipse|circle)\b[^>]*(opacity|mix-blend-mode|"transparent")[^>]*\/>/g,
  /<g\b[^>]*(opacity|mix-blend-mode)[^>]*>(?:(?!<\/?g\b).)*<\/g>/gs,
  /<mask\b.*?<\/mask>/gs,
];
const NEAR_BLACK = /#(?:0{3}(?:0{3})?|1[0-9a-f]{5}|2[0-3][0-2][0-9a-f][0-2][0-9a-f])(?=")|(?<==")black(?=")/gi;

function template(loaded, style, index, random) {
  const colors = Object.fromEntries(Object.entries(STYLES[style]).map(([name, value]) => [name, [value]]));
  let svg = createAvatar(loaded, { seed: `${style}-${index}`, ...colors }).toString();
  const side = Number(/viewBox="0 0 (\d+)/.exec(svg)[1]);
  svg = svg.replace(/<metadata.*?<\/metadata>/s, '').replace(/ shape-rendering="auto"/, '');
  for (const pattern of SHADOWS) svg = svg.replace(pattern, '');
  svg = svg.replace(/ mask="[^"]*"/g, '');
  for (const [name, value] of Object.entries(SENTINEL)) svg = svg.replaceAll(`#${value}`, `{${name}}`);
  svg = svg.replace(NEAR_BLACK, '#000');
  const width = (side * (STROKES[0] + random() * (STROKES[1] - STROKES[0]))).toFixed(2);
  const outlined = `<g stroke="#000" stroke-width="${width}" stroke-linejoin="round" stroke-linecap="round">`;
  return svg.replace(/<svg[^>]*>/, (root) => root + background(index, side) + outlined).replace(/<\/svg>$/, '</g></svg>');
}

const [out, count = '100'] = process.argv.slice(2);
for (const style of Object.keys(STYLES)) {
  const loaded = await load(`${style}/lib/index.js`);
  const random = mulberry32(20);
  const drawings = new Map();
  for (let index = 0; drawings.size < Number(count) && index < 20 * Number(count); index++) {
    const svg = template(loaded, style, index, random);
    const key = svg.replace(/<linearGradient.*?<\/linearGradient>/s, '').replace(/ stroke-width="[\d.]*" stroke-linejoin="round" stroke-linecap="round">/, '>');
    const id = createHash('sha256').update(key).digest('hex').slice(0, 10);
    if (!drawings.has(id)) drawings.set(id, JSON.stringify({ id, style, tags: [`style:${style}`], svg }));
  }
  writeFileSync(join(out, `${style}.jsonl`), [...drawings.keys()].sort().map((id) => drawings.get(id) + '\n').join(''));
}
