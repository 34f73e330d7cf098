import { describe, expect, test } from "vitest";
import { EMPTY_FORM } from "../../src/keys/form.ts";
import type { MadeKey } from "../../src/keys/key.ts";
import { KeysModel } from "../../src/keys/keys_model.ts";
import { SourceError } from "../../src/relay/problem.ts";
import { settle } from "../fakes.ts";
import { FakeKeys, keyOf } from "./kit.ts";

function keys() {
  const source = new FakeKeys();
  source.keys = [keyOf("key_a")];
  const rotated: MadeKey[] = [];
  return { model: new KeysModel(source, (made) => rotated.push(made)), source, rotated };
}

const FORM = { ...EMPTY_FORM, owner: "search" };

describe("keys", () => {
  test("are listed, and a list that cannot be had keeps what was shown", async () => {
    const { model, source } = keys();
    await model.load();
    expect(model.state.value.keys).toHaveLength(1);
    source.failure = new SourceError("unreachable", "gone");
    await model.load();
    expect(model.state.value).toMatchObject({ keys: source.keys, problem: { kind: "unreachable" }, isAsking: false });
  });

  test("are made, shown once, and then kept nowhere", async () => {
    const { model } = keys();
    model.open({ dialog: "create" });
    await model.create(FORM);
    expect(model.state.value.open).toMatchObject({
      dialog: "made",
      isRotated: false,
      made: { secret: "hr_brand_new" },
    });
    await settle();
    expect(model.state.value.keys).toHaveLength(2);
    model.close();
    expect(JSON.stringify(model.state.value)).not.toContain("hr_brand_new");
  });

  test("that the relay does not make are told by field, where it names one", async () => {
    const { model, source } = keys();
    model.open({ dialog: "create" });
    source.failure = new SourceError(
      "refused",
      "limits.requests_per_minute: at most 1000000",
      "limits.requests_per_minute",
    );
    await model.create(FORM);
    expect(model.state.value).toMatchObject({ errors: { requests_per_minute: "at most 1000000" }, refusal: null });
    source.failure = new SourceError("refused", "the store is full");
    await model.create(FORM);
    expect(model.state.value).toMatchObject({ errors: {}, refusal: "the store is full", open: { dialog: "create" } });
  });

  test("that cannot be asked for are not", async () => {
    const { model, source } = keys();
    await model.create(EMPTY_FORM);
    expect(model.state.value.errors.owner).toBeDefined();
    expect(source.calls).toEqual([]);
  });

  test("are made once, however often it is pressed", async () => {
    const { model, source } = keys();
    await Promise.all([model.create(FORM), model.create(FORM)]);
    expect(source.calls.filter((call) => call !== "list")).toHaveLength(1);
  });

  test("that are rotated tell their new secret before anything else is asked", async () => {
    const { model, source, rotated } = keys();
    await model.rotate(keyOf("key_a"), 3600);
    expect(source.calls[0]).toEqual(["rotate", "key_a", 3600]);
    expect(rotated.map(({ secret }) => secret)).toEqual(["hr_rotated"]);
    expect(model.state.value.open).toMatchObject({ dialog: "made", isRotated: true });
  });

  test("that are revoked are so at once; what cannot be is said in the dialog", async () => {
    const { model, source } = keys();
    await model.load();
    const key = keyOf("key_a");
    model.open({ dialog: "revoke", key });
    source.failure = new SourceError("refused", "the store failed");
    await model.revoke(key);
    expect(model.state.value).toMatchObject({ open: { dialog: "revoke" }, refusal: "the store failed" });
    source.failure = null;
    await model.revoke(key);
    expect(model.state.value.open).toBeNull();
    expect(model.state.value.keys?.[0]?.revokedAt).not.toBeNull();
  });
});
