/** The colours and dashes of lines in charts. Colours are variables of the style sheet. */

const N_COLOURS = 8;

export const colourOf = (series: number) => `var(--series-${series % N_COLOURS})`;

/** Of pinned cells and of the lines that go with them; the first is solid. */
export const DASHES: (number[] | undefined)[] = [undefined, [6, 4], [2, 3]];
