// Folds a chunk of a row's logits into the sums of a set of tokens and of all other tokens; in a second pass over the row,
// when the sums are complete, counts the tokens that come before the best member.
// Work: one invocation per row and lane; no barrier. The second pass reads slots of other lanes that nothing writes then.
struct Params {
  n_rows: u32,
  n_columns: u32,  // of this chunk, without padding
  is_first: u32,   // 1: the sums start empty
  stride: u32,     // of a row of logits
  column: u32,     // first column of this chunk in a row of logits
  first_id: u32,   // its token
  counts: u32,     // 1: the second pass
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;       // [rows, V4] f32
@group(0) @binding(2) var<storage, read> members: array<u32>;      // [V / 32] bits, by token
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;   // [rows, LANES, MEMBER_SLOTS] f32

// Slots of a lane: the largest logit of the members with their sum e^(z-m), the same of all other tokens; the id of the
// best member; the tokens before it.
const MEMBER_SLOTS: u32 = 6u;
const SLOT_ID: u32 = 4u;
const SLOT_BEFORE: u32 = 5u;
// Above every id.
const NO_ID: f32 = 16777216.0;

fn is_member(id: u32) -> bool {
  return ((members[id >> 5u] >> (id & 31u)) & 1u) == 1u;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let lane = at.x;
  let row = at.y;
  if (lane >= LANES || row >= params.n_rows) {
    return;
  }
  let z0 = row * params.stride + params.column;
  let s0 = row * LANES * MEMBER_SLOTS;
  let s = s0 + lane * MEMBER_SLOTS;

  if (params.counts == 1u) {
    var best = NEG_HUGE;
    var best_id = NO_ID;
    for (var other = 0u; other < LANES; other++) {
      let z = sums[s0 + other * MEMBER_SLOTS];
      let id = sums[s0 + other * MEMBER_SLOTS + SLOT_ID];
      if (z > best || (z == best && id < best_id)) {
        best = z;
        best_id = id;
      }
    }
    var before = 0.0;
    for (var c = lane; c < params.n_columns; c += LANES) {
      let z = logits[z0 + c];
      let comes_before = z > best || (z == best && f32(params.first_id + c) < best_id);
      before += select(0.0, 1.0, comes_before);
    }
    sums[s + SLOT_BEFORE] = select(sums[s + SLOT_BEFORE], 0.0, params.is_first == 1u) + before;
    return;
  }

  let is_first = params.is_first == 1u;
  var largest = vec2<f32>(select(sums[s], NEG_HUGE, is_first), select(sums[s + 2u], NEG_HUGE, is_first));
  var mass = vec2<f32>(select(sums[s + 1u], 0.0, is_first), select(sums[s + 3u], 0.0, is_first));
  var best_id = select(sums[s + SLOT_ID], NO_ID, is_first);
  for (var c = lane; c < params.n_columns; c += LANES) {
    let z = logits[z0 + c];
    let id = params.first_id + c;
    let is_in = is_member(id);
    let old = select(largest.y, largest.x, is_in);
    let most = max(old, z);
    let sum = select(mass.y, mass.x, is_in) * exp(old - most) + exp(z - most);
    // Columns come by rising ids, so that the first of equal logits stays.
    best_id = select(best_id, f32(id), is_in && z > old);
    largest = select(vec2<f32>(largest.x, most), vec2<f32>(most, largest.y), is_in);
    mass = select(vec2<f32>(mass.x, sum), vec2<f32>(sum, mass.y), is_in);
  }
  sums[s] = largest.x;
  sums[s + 1u] = mass.x;
  sums[s + 2u] = largest.y;
  sums[s + 3u] = mass.y;
  sums[s + SLOT_ID] = best_id;
  sums[s + SLOT_BEFORE] = 0.0;
}
