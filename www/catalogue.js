// @ts-check
/** The models that the page names: the bundled one, and OpenAI's GPT-2 in every size with the sizes that its configs state. */
import { addressText } from "./address.js";

/**
 * @typedef {object} Entry
 * @property {string} name
 * @property {string} id on the hub
 * @property {string} config what the engine needs of config.json to say what the model costs
 */

/** @param {number} n_layer @param {number} n_head @param {number} n_embd */
const config = (n_layer, n_head, n_embd, n_positions = 1024, vocab_size = 50257) =>
  JSON.stringify({ model_type: "gpt2", n_layer, n_head, n_embd, n_positions, vocab_size });

export const BUNDLED = { name: "Tales", config: config(8, 6, 192, 256, 4096) };

/** @type {Entry[]} */
export const CATALOGUE = [
  { name: "GPT-2 124M", id: "openai-community/gpt2", config: config(12, 12, 768) },
  { name: "GPT-2 355M", id: "openai-community/gpt2-medium", config: config(24, 16, 1024) },
  { name: "GPT-2 774M", id: "openai-community/gpt2-large", config: config(36, 20, 1280) },
  { name: "GPT-2 1558M", id: "openai-community/gpt2-xl", config: config(48, 25, 1600) },
  { name: "DistilGPT2", id: "distilbert/distilgpt2", config: config(6, 12, 768) },
];

/** @param {import("./address.js").Address} address */
export const modelName = (address) =>
  CATALOGUE.find(({ id }) => id === addressText(address))?.name ?? addressText(address);
