// What the scripts share that write drawing templates: DiceBear's packages, random numbers, and the ground behind a drawing.
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const GRADIENTS = ['x1="0" y1="0" x2="0" y2="1"', 'x1="0" y1="0" x2="1" y2="1"', 'x1="0" y1="0" x2="1" y2="0"', 'x1="1" y1="0" x2="0" y2="1"'];

/** A module of the packages in the folder where the script is run. */
export const load = (path) => import(pathToFileURL(resolve('node_modules/@dicebear', path)));

/** Random numbers in [0, 1) that follow from `state` alone. */
export function mulberry32(state) {
  return () => {
    let t = (state += 0x6d2b79f5);
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A square ground in two colours, whose direction follows from the drawing's number. */
export function background(index, side) {
  return `<linearGradient id="g" ${GRADIENTS[index % GRADIENTS.length]}><stop stop-color="{background}"/>` +
    `<stop offset="1" stop-color="{background2}"/></linearGradient><rect id="background" width="${side}" height="${side}" fill="url(#g)"/>`;
}
