// The volume viewer: NiiVue, unpacked when the reader opens it, and the controls around it.
"use strict";
(() => {
  const box = document.getElementById("viewer-box");
  if (!box) return;
  const part = (name) => document.getElementById(`viewer-${name}`);
  const PLANES = ["sagittal", "coronal", "axial"]; // across the voxel axes w, h, d
  const KEYS = {
    ArrowLeft: [0, -1], ArrowRight: [0, 1], PageDown: [1, -1], PageUp: [1, 1], ArrowDown: [2, -1], ArrowUp: [2, 1],
  };
  const about = JSON.parse(part("about").textContent);
  let view = null; // of NiiVue
  let asked = 0; // the last request to show something: an earlier one that ends later shows nothing

  const say = (sentence) => { part("status").textContent = sentence; };

  async function unpack(element) {
    const bytes = Uint8Array.from(atob(element.textContent.trim()), (letter) => letter.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }

  const colour = (hex, at) => parseInt(hex.slice(1 + 2 * at, 3 + 2 * at), 16);
  const colours = ["#000000", ...about.regions.map((region) => region.colour)];
  const [R, G, B] = [0, 1, 2].map((at) => colours.map((hex) => colour(hex, at)));
  const labels = { R, G, B, A: colours.map((_, level) => (level ? 255 : 0)) };

  const opacity = () => (part("mask").checked ? Number(part("opacity").value) / 100 : 0);
  const voxel = () => [...view.frac2vox(view.scene.crosshairPos)];

  function load(number, name, options) {
    const base64 = part(`volume-${number}-${name}`).textContent.trim();
    return window.niivue.NVImage.loadFromBase64({ base64, name: `${name}.nii.gz`, ...options });
  }

  function placeAt(place) {
    view.scene.crosshairPos = view.vox2frac(place);
    view.drawScene();
    report();
  }

  // The sliders follow what is shown, whoever moved it.
  function report() {
    if (!view.volumes.length) return;
    const [size, place] = [view.volumes[0].dimsRAS, voxel()];
    PLANES.forEach((plane, axis) => {
      const slider = part(plane);
      slider.max = size[axis + 1] - 1;
      slider.value = place[axis];
      part(`${plane}-value`).textContent = `${place[axis] + 1} of ${size[axis + 1]}`;
    });
  }

  function move(axis, index) {
    const place = voxel();
    place[axis] = Math.min(Math.max(index, 0), view.volumes[0].dimsRAS[axis + 1] - 1);
    placeAt(place);
  }

  async function show(keepPlace) {
    const request = ++asked;
    const number = Number(part("case").value);
    const modality = part("modality").value;
    box.removeAttribute("data-shown");
    say("Loading …");
    const [image, mask] = await Promise.all([
      load(number, modality, { colormap: "gray", cal_min: 0, cal_max: 255 }),
      load(number, "mask", { opacity: opacity() }),
    ]);
    if (request !== asked) return;
    const place = keepPlace && view.volumes.length ? voxel() : about.cases[number].voxel;
    mask.setColormapLabel(labels);
    while (view.volumes.length) view.removeVolume(view.volumes[view.volumes.length - 1]);
    view.addVolume(image);
    view.addVolume(mask);
    placeAt(place);
    say(`${about.cases[number].label}, ${modality}.`);
    box.dataset.shown = `${number} ${modality}`;
  }

  const orSay = (work) => work.catch((error) => say(`The viewer could not show this: ${error.message || error}`));

  async function start() {
    if (!document.createElement("canvas").getContext("webgl2") || !window.DecompressionStream) {
      say("This browser cannot show volumes: it offers no WebGL2. The figures of this report need none.");
      part("screen").hidden = true;
      return;
    }
    say("Opening …");
    const script = document.createElement("script");
    script.textContent = await unpack(part("niivue"));
    document.head.append(script);
    const { Niivue, SLICE_TYPE, SHOW_RENDER } = window.niivue;
    view = new Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [0.35, 0.65, 1, 0.7],
      crosshairGap: 4,
      crosshairWidth: 0.6,
      crosshairWidthUnit: "percent",
      dragAndDropEnabled: false,
      isNearestInterpolation: true,
      isRadiologicalConvention: true,
      loadingText: "",
      logLevel: "silent",
      multiplanarShowRender: SHOW_RENDER.NEVER,
      sagittalNoseLeft: true,
      show3Dcrosshair: false,
      sliceType: SLICE_TYPE.MULTIPLANAR,
    });
    view.onLocationChange = report;
    await view.attachToCanvas(part("canvas"));
    await show(false);
  }

  // Keys go to the slices shown, not to NiiVue's own shortcuts; all others stay with the browser.
  function key(event) {
    event.stopPropagation();
    const step = KEYS[event.key];
    if (!view || event.type !== "keydown" || !step || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    move(step[0], voxel()[step[0]] + step[1]);
  }

  let opened = false;
  box.addEventListener("toggle", () => {
    if (!box.open || opened) return;
    opened = true;
    orSay(start());
  });
  const whenShown = (work) => () => { if (view && view.volumes.length) work(); };
  part("case").addEventListener("change", whenShown(() => orSay(show(false))));
  part("modality").addEventListener("change", whenShown(() => orSay(show(true))));
  for (const name of ["mask", "opacity"]) {
    part(name).addEventListener("input", whenShown(() => view.setOpacity(1, opacity())));
  }
  PLANES.forEach((plane, axis) => {
    part(plane).addEventListener("input", whenShown(() => move(axis, Number(part(plane).value))));
  });
  for (const type of ["keydown", "keyup"]) part("screen").addEventListener(type, key, true);
})();
