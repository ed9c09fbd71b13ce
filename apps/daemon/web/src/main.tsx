import { render } from "preact";

import { App } from "./app";
import { takeToken } from "./fragment";

const token = takeToken();
const root = document.getElementById("app");
if (root) render(<App token={token} />, root);
