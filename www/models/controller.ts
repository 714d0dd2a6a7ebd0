/**
 * Which model is opened when: at the start, by a link, by a person; and what the page says when one is not opened,
 * or not kept. A link alone never downloads anything: it asks.
 */
import { addressOf, addressText } from "../sources/hub-address.ts";
import { BUNDLED, CATALOGUE, modelName } from "../sources/catalogue.ts";
import { bytes } from "../lib/format.ts";
import { addressKept, keptOf } from "./list.ts";
import { adviceOnOpening, whyNotKept } from "../lib/problems.ts";
import type { Failure, How, createSession } from "../state/session.ts";
import type { Action, Notice } from "../ui/notice.ts";
import type { Kept, Refusal, Step } from "../engine/protocol.ts";
import type { Address, ModelInUse, Source } from "../lib/model.ts";

/** What of the page says how an opening goes, and what it remembers between visits. */
export interface OpeningView {
  /** An opening begins: `is_first` where there is no model yet. `can_wait`: it may be cancelled. */
  begin: (title: string, is_first: boolean, can_wait: boolean) => void;
  step: (step: Step) => void;
  /** It is over. */
  end: () => void;
  notice: (notice: Notice) => void;
  hideNotice: () => void;
  /** Lets a person choose files. */
  chooseFiles: () => void;
  onCancel: (cancel: () => void) => void;
  /** Whether models are to be kept. */
  wantsKeeping: () => boolean;
  /** The model that was last chosen: the key of a kept one, or "bundled". */
  lastChosen: () => string | null;
  remember: (model: string) => void;
}

export function createModelController({
  session,
  view,
  changed,
}: {
  session: () => ReturnType<typeof createSession>;
  view: OpeningView;
  /** what the address bar says of the model is another thing now */
  changed: () => void;
}) {
  const plainly = (): How => ({ precision: "f16", keep: view.wantsKeeping() });
  /** What is opened again after trouble. */
  let wanted: Source = { kind: "bundled" };
  let [is_by_person, is_open, is_listing] = [false, false, false];
  /** A link's model that is not here. */
  let offered: Address | null = null;
  /**
   * The file that is open and that nobody keeps; or, until something else is opened, the one that a link was made
   * with.
   */
  let file: string | null = null;
  /** The model in use, on the hub; and the one that is being opened. */
  let in_use: Address | null = null;
  let coming: Address | null = null;
  /** As last listed: for what failed and may be gone since. */
  let kept: Kept[] = [];

  const list = async () =>
    (kept = await session()
      .engine()
      .list()
      .catch(() => []));

  view.onCancel(() => session().cancel());

  function describe(source: Source): { name: string; address: Address | null } {
    switch (source.kind) {
      case "bundled":
        return { name: BUNDLED.name, address: null };
      case "files":
        return { name: source.name, address: null };
      case "hub":
        return { name: modelName(source), address: { id: source.id, revision: source.revision } };
      case "kept": {
        const found = kept.find(({ key }) => key === source.key);
        return found
          ? { name: found.about.name, address: addressKept(found) }
          : { name: "The kept model", address: null };
      }
    }
  }

  /** Opens what a person chose. */
  async function open(source: Source, how: How) {
    // The list is asked for before an opening begins: another one may come in between.
    if (session().isOpening() || is_listing)
      return view.notice({ title: "One model at a time", text: "Cancel the one that is being opened first." });
    view.hideNotice();
    is_listing = true;
    await list().finally(() => (is_listing = false));
    is_by_person = true;
    await session().open(source, how);
  }

  /** Asks whether a link's model is to be downloaded. */
  function offer(address: Address) {
    const name = modelName(address);
    const partial = keptOf(kept, address);
    const config = CATALOGUE.find(({ id }) => id === addressText(address))?.config;
    offered = address;
    changed();
    const ask = (cost: string) =>
      view.notice({
        title: `This link was made with ${name}${cost}`,
        text: partial ? "Part of it is in this browser already." : "It is not in this browser yet.",
        actions: [
          partial
            ? {
                label: "Resume",
                is_main: true,
                onClick: () => void open({ kind: "kept", key: partial.key }, plainly()),
              }
            : { label: "Download", is_main: true, onClick: () => void open({ kind: "hub", ...address }, plainly()) },
        ],
        dismiss: "Not now",
        onDismiss: () => {
          offered = null;
          changed();
        },
      });
    if (!config) return ask("");
    session()
      .engine()
      .plan(config, { precision: "f16", trial: false })
      .then(
        ({ file_bytes }) => ask(` (${bytes(file_bytes)} to download)`),
        () => ask(""),
      );
  }

  /** Asks for a file that a link was made with. */
  function askFor(name: string) {
    file = name;
    changed();
    view.notice({
      title: `This link was made with the file ${name}`,
      text: "It was on a computer and nowhere else. Choose it again to see the same; until then this is another model.",
      actions: [{ label: "Choose files", is_main: true, onClick: () => view.chooseFiles() }],
      dismiss: "Not now",
      onDismiss: () => {
        file = null;
        changed();
      },
    });
  }

  async function start() {
    is_open = false;
    // What was in use and would have to be downloaded again is offered.
    if (wanted.kind === "bundled") offered ??= in_use;
    await session().start(wanted, plainly());
    if (offered && is_open) offer(offered);
  }

  async function explain(source: Source, how: How, { code, message }: Failure) {
    const { name, address } = describe(source);
    const was_whole = source.kind === "kept" && kept.find(({ key }) => key === source.key)?.about.state === "whole";
    const advice = adviceOnOpening(code, was_whole, how.precision);
    const left = (await list()).find(
      (each) =>
        each.about.state === "partial" &&
        (source.kind === "kept"
          ? each.key === source.key
          : address !== null &&
            each.about.precision === how.precision &&
            addressText(addressKept(each) ?? { id: "", revision: "" }) === addressText(address)),
    );
    const again: Source = left ? { kind: "kept", key: left.key } : source;
    const actions: Action[] = [];
    const hub = address && ({ kind: "hub", ...address } as Source);
    if (advice.remedy === "replace" && source.kind === "kept") {
      actions.push({
        label: hub ? "Delete and download again" : "Delete",
        is_main: true,
        onClick: async () => {
          await session()
            .engine()
            .remove(source.key)
            .catch(() => {});
          if (hub) await open(hub, how);
        },
      });
    } else if (
      code === "missing-tensor" &&
      source.kind === "files" &&
      !source.wants_part &&
      source.files.some((file) => file.name === "config.json")
    ) {
      actions.push({
        label: "Explore what there is",
        is_main: true,
        onClick: () => void open({ ...source, wants_part: true }, how),
      });
    } else if (advice.remedy === "f32") {
      actions.push({
        label: "Open in f32",
        is_main: true,
        onClick: () => void open(hub ?? source, { ...how, precision: "f32" }),
      });
    } else if (advice.remedy === "retry") {
      actions.push({ label: left ? "Resume" : "Try again", is_main: true, onClick: () => void open(again, how) });
    }
    view.notice({ title: advice.title(name), text: message, code: advice.is_quiet ? "" : code, actions });
  }

  return {
    open,

    /**
     * At the start: the link's model if it is kept, else the one last used, else the bundled one.
     * @param of_file the file that the link was made with
     */
    async begin(model: string | null, of_file: string | null) {
      const address = addressOf(model);
      const last = view.lastChosen();
      offered = address;
      if (address || last) await list();
      const found = address ? keptOf(kept, address) : kept.find(({ key }) => key === last);
      if (found?.about.state === "whole") {
        offered = null;
        wanted = { kind: "kept", key: found.key };
      }
      await start();
      if (of_file && is_open && !address) askFor(of_file);
    },

    /** Starts the engine again after it failed, with what was in use if that needs no download. */
    again: () => void start(),

    /** Back to the bundled model. */
    bundled: () => void open({ kind: "bundled" }, plainly()),

    /** The address bar names another model. */
    async follow(model: string | null) {
      const address = addressOf(model);
      if (address && in_use && addressText(address) === addressText(in_use)) return;
      if (!address) return in_use ? open({ kind: "bundled" }, plainly()) : undefined;
      await list();
      const found = keptOf(kept, address);
      if (found?.about.state === "whole") await open({ kind: "kept", key: found.key }, plainly());
      else offer(address);
    },

    coming: () => (session().isOpening() ? coming : null),

    /** What the address bar is to say. */
    model: () => {
      const address = offered ?? in_use;
      return address && addressText(address);
    },

    /** The file that it is to name. */
    file: () => file,

    opening(source: Source, is_first: boolean) {
      coming = describe(source).address;
      const title = is_first ? "Starting the engine" : `Opening ${describe(source).name}`;
      view.begin(title, is_first, source.kind !== "bundled");
    },

    step: (step: Step) => view.step(step),

    opened(facts: ModelInUse, refusal: Refusal | null, source: Source) {
      const { source: now, address, name } = facts.in_use;
      view.end();
      is_open = true;
      in_use = address;
      if (is_by_person || source.kind !== "bundled") [offered, file] = [null, now.kind === "files" ? now.name : null];
      // What would have to be downloaded again is not opened by itself.
      wanted = now.kind === "hub" ? { kind: "bundled" } : now;
      if (is_by_person && now.kind !== "hub" && now.kind !== "files")
        view.remember(now.kind === "kept" ? now.key : "bundled");
      is_by_person = false;
      if (refusal)
        view.notice({ title: `${name} is open, but could not be kept`, text: whyNotKept(refusal), code: refusal.name });
    },

    notOpened(failure: Failure, source: Source, how: How) {
      view.end();
      is_by_person = false;
      void explain(source, how, failure);
    },
  };
}
