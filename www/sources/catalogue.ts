/** The models that the page names, with the sizes that their configs state: the bundled one, GPT-2 in every size, GPT-Neo, CTRL. */
import { addressText } from "./hub-address.ts";
import type { Address } from "../lib/model.ts";

export interface Entry {
  name: string;
  /** on the hub */
  id: string;
  /** what the engine needs of config.json to say what the model costs */
  config: string;
  /** of its weights on the hub, if that is not safetensors */
  format?: string;
}

const config = (n_layer: number, n_head: number, n_embd: number, n_positions = 1024, vocab_size = 50257) =>
  JSON.stringify({ model_type: "gpt2", n_layer, n_head, n_embd, n_positions, vocab_size });

/** Attention takes turns between all positions before and a window of the last ones. */
const neo = (num_layers: number, num_heads: number, hidden_size: number) =>
  JSON.stringify({
    model_type: "gpt_neo",
    num_layers,
    num_heads,
    hidden_size,
    vocab_size: 50257,
    max_position_embeddings: 2048,
    window_size: 256,
    attention_types: [[["global", "local"], num_layers / 2]],
  });

const CTRL = JSON.stringify({
  model_type: "ctrl",
  n_layer: 48,
  n_head: 16,
  n_embd: 1280,
  dff: 8192,
  n_positions: 256,
  vocab_size: 246534,
});

export const BUNDLED = { name: "Tales", config: config(8, 6, 192, 256, 4096) };

export const CATALOGUE: Entry[] = [
  { name: "GPT-2 124M", id: "openai-community/gpt2", config: config(12, 12, 768) },
  { name: "GPT-2 355M", id: "openai-community/gpt2-medium", config: config(24, 16, 1024) },
  { name: "GPT-2 774M", id: "openai-community/gpt2-large", config: config(36, 20, 1280) },
  { name: "GPT-2 1558M", id: "openai-community/gpt2-xl", config: config(48, 25, 1600) },
  { name: "DistilGPT2", id: "distilbert/distilgpt2", config: config(6, 12, 768) },
  { name: "GPT-Neo 125M", id: "EleutherAI/gpt-neo-125m", config: neo(12, 12, 768) },
  { name: "GPT-Neo 1.3B", id: "EleutherAI/gpt-neo-1.3B", config: neo(24, 16, 2048) },
  { name: "GPT-Neo 2.7B", id: "EleutherAI/gpt-neo-2.7B", config: neo(32, 20, 2560) },
  { name: "CTRL 1.6B", id: "Salesforce/ctrl", config: CTRL, format: "PyTorch" },
];

export const modelName = (address: Address) =>
  CATALOGUE.find(({ id }) => id === addressText(address))?.name ?? addressText(address);
