// @vitest-environment jsdom
import { beforeEach, describe, expect, test } from "vitest";
import { SessionKey } from "../src/store/key.ts";
import { Settings } from "../src/store/settings.ts";

beforeEach(() => {
  localStorage.clear();
  sessionStorage.clear();
});

const DENIED = {
  getItem: () => {
    throw new DOMException("denied", "SecurityError");
  },
  setItem: () => {
    throw new DOMException("denied", "SecurityError");
  },
  removeItem: () => {
    throw new DOMException("denied", "SecurityError");
  },
};

describe("settings", () => {
  test("are kept", () => {
    const settings = new Settings(localStorage);
    settings.theme.value = "dark";
    settings.system.value = "Be brief.";
    expect(settings.setSampling("temperature", "0.2")).toBe(true);
    const later = new Settings(localStorage);
    expect([later.theme.value, later.system.value]).toEqual(["dark", "Be brief."]);
    expect(later.sampling.value).toEqual({ temperature: 0.2, maxTokens: null, topP: null, seed: null });
  });

  test.each([
    ["temperature", "2.1"],
    ["temperature", "-0.1"],
    ["temperature", "warm"],
    ["maxTokens", "0"],
    ["maxTokens", "1.5"],
    ["topP", "1.01"],
    ["seed", "0.5"],
    ["seed", "Infinity"],
  ] as const)("%s refuses %j and stays as it was", (key, text) => {
    const settings = new Settings(null);
    expect(settings.setSampling(key, "1")).toBe(true);
    expect(settings.setSampling(key, text)).toBe(false);
    expect(settings.sampling.value[key]).toBe(1);
    expect(settings.setSampling(key, " ")).toBe(true);
    expect(settings.sampling.value[key]).toBeNull();
  });

  test.each(["null", "[]", "{", '{"theme":"pink","model":7,"sampling":{"temperature":"hot","seed":3}}'])(
    "what is kept is not taken on trust: %s",
    (saved) => {
      localStorage.setItem("headrace.settings", saved);
      const settings = new Settings(localStorage);
      expect([settings.theme.value, settings.model.value, settings.system.value]).toEqual(["system", null, ""]);
      expect(settings.sampling.value.temperature).toBeNull();
    },
  );

  test("work where storage is denied", () => {
    const settings = new Settings(DENIED);
    settings.theme.value = "light";
    expect(settings.theme.value).toBe("light");
  });
});

describe("a key", () => {
  test("lasts for the session and is never shown in full", () => {
    new SessionKey(sessionStorage).set("  sk-0123456789abcdef  ");
    const later = new SessionKey(sessionStorage);
    expect(later.value).toBe("sk-0123456789abcdef");
    expect(later.masked.value).toBe("••••cdef");
    expect(localStorage).toHaveLength(0);
  });

  test("that is short shows nothing of itself", () => {
    const key = new SessionKey(null);
    key.set("secret");
    expect(key.masked.value).toBe("••••");
  });

  test("that is given is wanted no longer; one that is forgotten is gone", () => {
    const key = new SessionKey(sessionStorage);
    key.ask();
    key.set("secret");
    expect(key.isWanted.value).toBe(false);
    key.forget();
    expect([key.value, key.masked.value, sessionStorage.length]).toEqual([null, null, 0]);
  });

  test("is asked for once for each that is refused, however often that is said", () => {
    const key = new SessionKey(null);
    key.refused(null);
    expect(key.isWanted.value).toBe(true);
    key.dismiss();
    key.refused(null);
    expect(key.isWanted.value).toBe(false);
    key.set("hr_second");
    key.refused("hr_second");
    expect(key.isWanted.value).toBe(true);
  });

  test("is not asked for because of an answer to an earlier one", () => {
    const key = new SessionKey(null);
    key.set("hr_new");
    key.refused("hr_old");
    key.refused(null);
    expect(key.isWanted.value).toBe(false);
  });

  test("can be given by who said not now", () => {
    const key = new SessionKey(null);
    key.refused(null);
    key.dismiss();
    key.ask();
    expect(key.isWanted.value).toBe(true);
  });

  test("an empty one is none", () => {
    const key = new SessionKey(sessionStorage);
    key.set("secret");
    key.set(" ");
    expect(key.value).toBeNull();
  });

  test("works where storage is denied", () => {
    const key = new SessionKey(DENIED);
    key.set("secret");
    expect(key.value).toBe("secret");
    key.forget();
    expect(key.value).toBeNull();
  });
});
