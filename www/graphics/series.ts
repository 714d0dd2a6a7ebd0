/** The colours of lines in charts: variables of the style sheet. */

const N_COLOURS = 8;

export const colourOf = (series: number) => `var(--series-${series % N_COLOURS})`;
