/**
 * Texts that open with one click: those that nostalgebraist's "interpreting GPT: the logit lens" is about, and one for
 * a small model of old stories. Each says what to look for; what the model at hand shows is worked out (findings.ts).
 */

/** which finding answers it */
export type Question = "passage" | "copied" | "repeated" | "kept" | "told";
/** `word`: the one the question is about */
export type Example = { name: string; text: string; view: string; look: string; question: Question; word?: string };

const ONCE = "Once upon a time there was a little girl who lived with her mother in a house by the";
const REPEATED = "The red fox and the blue bird.";

export const EXAMPLES: Example[] = [
  {
    name: "once upon a time",
    text: ONCE,
    view: "logit",
    question: "passage",
    look: "Read each column upwards: the guess for the next token takes shape row by row. Outlined cells already have the guess that the final row makes.",
  },
  {
    name: "GPT-3 abstract",
    text: "Specifically, we train GPT-3, an autoregressive language model with 175 billion parameters, 10x more than any previous non-sparse language model, and test its performance in the few-shot setting. For all tasks, GPT-3 is applied without any gradient updates or fine-tuning, with tasks and few-shot demonstrations specified purely via text interaction with the model.",
    view: "rank",
    question: "passage",
    look: "From the paper on GPT-3 (Brown et al., 2020), the passage of the post’s first figures. In GPT-2 the early rows look like nonsense, the middle ones like shallow guesses, and the late ones refine them.",
  },
  {
    name: "plasma, copied",
    text: "Sometimes, when people say plasma, they mean a state of matter. Other times, when people say plas",
    view: "rank",
    question: "copied",
    look: "The word stood there before, so its second half can be copied. Watch the last column: the post found the copied token only in the very last rows.",
  },
  {
    name: "repetition",
    text: Array.from({ length: 8 }, () => REPEATED).join(" "),
    view: "rank",
    question: "repeated",
    look: "One sentence again and again. Once it has been seen, every token can be known in advance; look where in depth that knowledge arrives.",
  },
  {
    name: "plasma, first",
    text: "Sometimes, when people say plasma, they mean a state of matter.",
    view: "rank_input",
    question: "kept",
    word: "plasma",
    look: "How soon does a position forget the token that stands at it? Common tokens are gone after block 0; the post saw rarer ones, such as plasma, stay for longer.",
  },
  {
    name: "told in advance",
    text: "This is a story whose last word is king. There was a great feast in the hall, and all the people stood up before the",
    view: "rank",
    question: "told",
    word: " king",
    look: "The text says itself which word must come at the end. Does the model use that, and at which row does the promised word rise?",
  },
];

export const DEFAULT_TEXT = ONCE;
