// @ts-check
/** Short texts of our own that show what a small model of old stories can do. */

/** @type {{ name: string, text: string }[]} */
export const EXAMPLES = [
  {
    name: "once upon a time",
    text: "Once upon a time there was a little girl who lived with her mother in a house by the",
  },
  {
    name: "the old king",
    text: 'The old king sat upon his throne, shaking his head. "My son," said he, "you must go into the forest and',
  },
  {
    name: "a knock at the door",
    text: 'There was a knock at the door. "Who is there?" cried the old woman. "It is only I," said the',
  },
  {
    name: "repetition",
    text: "The red fox and the blue bird. The red fox and the blue bird. The red fox and the blue bird. The red fox and the",
  },
  {
    name: "plasma, copied",
    text: "Some people say plasma is a fire, and some people say plasma is a wind. When people say plasma they mean a thing, and when people say plas",
  },
];

export const DEFAULT_TEXT = EXAMPLES[0].text;
