import { describe, expect, test } from "vitest";
import { Follow, type Scrolled } from "../src/chat/scroll.ts";

/** An element of 100 px that clamps as browsers do, and tells of scrolls as late as they do. */
class FakeScroller implements Scrolled {
  readonly clientHeight = 100;
  #top = 0;
  #height = 100;

  get scrollTop(): number {
    return this.#top;
  }

  set scrollTop(top: number) {
    this.#top = Math.max(0, Math.min(top, this.#height - this.clientHeight));
  }

  get scrollHeight(): number {
    return this.#height;
  }

  set scrollHeight(height: number) {
    this.#height = height;
    this.scrollTop = this.#top;
  }
}

function following(height: number, isHeld = () => false) {
  const element = new FakeScroller();
  const follow = new Follow(element, isHeld);
  const grow = (to: number) => {
    element.scrollHeight = to;
    follow.resized();
  };
  const scroll = (to: number) => {
    element.scrollTop = to;
    follow.scrolled();
  };
  grow(height);
  return { element, follow, grow, scroll };
}

describe("following the end", () => {
  test("keeps it in view as text grows", () => {
    const { element, grow } = following(300);
    expect(element.scrollTop).toBe(200);
    grow(450);
    expect(element.scrollTop).toBe(350);
  });

  test("ends when the reader scrolls up, however little", () => {
    const { element, follow, grow, scroll } = following(300);
    scroll(196);
    grow(400);
    expect(follow.isFollowing.value).toBe(false);
    expect(element.scrollTop).toBe(196);
  });

  test("ends also when growth is told before the reader's scroll", () => {
    const { element, follow, grow } = following(300);
    element.scrollTop = 150;
    grow(400);
    expect(follow.isFollowing.value).toBe(false);
    expect(element.scrollTop).toBe(150);
  });

  test("does not come back by scrolling down a little", () => {
    const { follow, scroll } = following(900);
    scroll(100);
    scroll(300);
    expect(follow.isFollowing.value).toBe(false);
  });

  test("comes back at the end, or within a line of it", () => {
    const { follow, scroll } = following(900);
    scroll(100);
    scroll(780);
    expect(follow.isFollowing.value).toBe(true);
  });

  test("outlives content that shrinks and grows again", () => {
    const { element, follow, grow } = following(500);
    element.scrollHeight = 420;
    follow.resized();
    follow.scrolled();
    grow(600);
    expect(follow.isFollowing.value).toBe(true);
    expect(element.scrollTop).toBe(500);
  });

  test("a last growth, such as how the answer ended, moves nobody who has left", () => {
    const { element, grow, scroll } = following(900);
    scroll(300);
    grow(960);
    expect(element.scrollTop).toBe(300);
  });

  test("lets go while text is selected", () => {
    const { element, follow, grow } = following(300, () => true);
    expect(follow.isFollowing.value).toBe(false);
    grow(500);
    expect(element.scrollTop).toBe(0);
  });

  test("jumps to the end when asked", () => {
    const { element, follow, grow, scroll } = following(900);
    scroll(0);
    follow.jump();
    expect(element.scrollTop).toBe(800);
    grow(1000);
    expect(element.scrollTop).toBe(900);
  });
});
