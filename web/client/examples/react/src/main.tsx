import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App.tsx";
import "./style.css";

const query = new URLSearchParams(location.search);
const relay = query.get("relay") ?? "http://127.0.0.1:8080";
const onUnmount = query.get("unmount") === "stop" ? "stop" : "keep";
const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no element #root");

createRoot(root).render(
  <StrictMode>
    <App relay={relay} onUnmount={onUnmount} />
  </StrictMode>,
);
