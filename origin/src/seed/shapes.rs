//! What the products of each category look like, on a canvas of 480 by 480.

use super::Dice;
use super::art::Palette;

/// Draws one product as a group of SVG shapes.
pub fn draw(category: &str, slug: &str, palette: &Palette, dice: &mut Dice) -> String {
    match category {
        "phones" => phone(slug, palette, dice),
        "laptops" => laptop(palette, dice),
        "headphones" => headphones(slug, palette, dice),
        "televisions" => television(palette, dice),
        "cameras" => camera(slug, palette, dice),
        "power-banks" => power_bank(palette, dice),
        "routers" => router(palette, dice),
        "watches" => watch(palette, dice),
        "gaming" => gaming(slug, palette, dice),
        _ => appliance(slug, palette, dice),
    }
}

fn phone(slug: &str, p: &Palette, dice: &mut Dice) -> String {
    let width = if slug.ends_with("fold") {
        250
    } else {
        164 + dice.roll(22)
    };
    let left = 240 - width / 2;
    let fold = if slug.ends_with("fold") {
        r##"<rect x="238" y="80" width="4" height="320" fill="#000" opacity="0.25"/>"##
    } else {
        ""
    };
    let notch = match dice.roll(3) {
        0 => r##"<circle cx="240" cy="98" r="6" fill="#0b0d10"/>"##.to_owned(),
        1 => {
            r##"<rect x="218" y="93" width="44" height="11" rx="5.5" fill="#0b0d10"/>"##.to_owned()
        }
        _ => format!(
            r##"<circle cx="{}" cy="98" r="6" fill="#0b0d10"/>"##,
            left + 26
        ),
    };
    let tiles: String = (0..3)
        .map(|row| {
            let y = 240 + row * 46;
            format!(
                r##"<rect x="{x}" y="{y}" width="{w}" height="32" rx="10" fill="#fff" opacity="0.{o}"/>"##,
                x = left + 26,
                w = width - 52 - dice.roll(3) * 20,
                o = 16 + row * 6,
            )
        })
        .collect();
    format!(
        r##"<rect x="{left}" y="66" width="{width}" height="348" rx="28" fill="url(#body)"/>
<rect x="{r}" y="150" width="5" height="46" rx="2.5" fill="{accent}"/>
<rect x="{x}" y="76" width="{w}" height="328" rx="20" fill="url(#glass)"/>
<circle cx="{cx}" cy="170" r="38" fill="#fff" opacity="0.18"/>
{tiles}{notch}{fold}"##,
        r = left + width - 1,
        x = left + 9,
        w = width - 18,
        cx = left + 64 + dice.roll(40),
        accent = p.accent,
    )
}

fn laptop(p: &Palette, dice: &mut Dice) -> String {
    let lean = 8 + dice.roll(10);
    let (x, w) = (92 + lean, 296 - 2 * lean);
    format!(
        r##"<g transform="translate(0 44)"><rect x="{x}" y="126" width="{w}" height="200" rx="14" fill="url(#body)"/>
<rect x="{sx}" y="138" width="{sw}" height="172" rx="4" fill="url(#glass)"/>
<path d="M{sx} 310 L{mx} 138 H{ex} L{ox} 310 Z" fill="#fff" opacity="0.10"/>
<rect x="{bx}" y="166" width="{bw}" height="12" rx="6" fill="#fff" opacity="0.6"/>
<rect x="{bx}" y="190" width="{bw2}" height="9" rx="4.5" fill="#fff" opacity="0.35"/>
<rect x="{bx}" y="216" width="62" height="24" rx="12" fill="{accent}"/>
<path d="M62 334 H418 L402 360 Q398 366 388 366 H92 Q82 366 78 360 Z" fill="{body}"/>
<path d="M62 326 H418 V336 Q418 342 410 342 H70 Q62 342 62 336 Z" fill="{shade}"/>
<rect x="204" y="326" width="72" height="8" rx="4" fill="#000" opacity="0.25"/></g>"##,
        sx = x + 11,
        sw = w - 22,
        mx = x + 60 + dice.roll(40),
        ex = x + 150,
        ox = x + 110,
        bx = x + 36,
        bw = 90 + dice.roll(60),
        bw2 = 70 + dice.roll(90),
        accent = p.accent,
        body = p.body,
        shade = p.shade,
    )
}

fn headphones(slug: &str, p: &Palette, dice: &mut Dice) -> String {
    let (accent, body, shade) = (p.accent, p.body, p.shade);
    if slug.contains("buds") {
        let bud = |x: i32, flip: i32| {
            format!(
                r##"<g transform="translate({x} 138) scale({flip} 1)"><circle r="36" fill="url(#body)"/><rect x="-4" y="10" width="24" height="74" rx="12" fill="{body}"/><circle cx="-20" cy="-8" r="17" fill="{shade}"/><circle cx="8" cy="66" r="5" fill="{accent}"/></g>"##
            )
        };
        return format!(
            r##"<rect x="128" y="246" width="224" height="164" rx="56" fill="url(#body)"/>
<rect x="128" y="300" width="224" height="5" fill="#000" opacity="0.25"/>
<circle cx="240" cy="330" r="6" fill="{accent}"/>{}{}"##,
            bud(176, 1),
            bud(304, -1)
        );
    }
    if slug.ends_with("-10") || slug.ends_with("-20") {
        let sway = 40 + dice.roll(60);
        return format!(
            r##"<path d="M160 150 C150 {a} 250 {a} 240 330 M320 150 C330 {a} 230 {a} 240 330 V404" fill="none" stroke="{body}" stroke-width="7" stroke-linecap="round"/>
<rect x="231" y="300" width="18" height="52" rx="9" fill="{accent}"/>
<circle cx="150" cy="128" r="36" fill="url(#body)"/><circle cx="136" cy="116" r="18" fill="{shade}"/>
<circle cx="330" cy="128" r="36" fill="url(#body)"/><circle cx="344" cy="116" r="18" fill="{shade}"/>
<circle cx="158" cy="134" r="8" fill="{accent}"/><circle cx="322" cy="134" r="8" fill="{accent}"/>"##,
            a = 220 + sway
        );
    }
    let cup = 74 + dice.roll(26);
    format!(
        r##"<path d="M118 280 V234 C118 66 362 66 362 234 V280" fill="none" stroke="url(#body)" stroke-width="24" stroke-linecap="round"/>
<path d="M150 160 C190 92 290 92 330 160" fill="none" stroke="{accent}" stroke-width="9" stroke-linecap="round"/>
<rect x="84" y="236" width="{cup}" height="150" rx="36" fill="url(#body)"/>
<rect x="{r}" y="236" width="{cup}" height="150" rx="36" fill="url(#body)"/>
<rect x="{i}" y="250" width="22" height="122" rx="11" fill="{shade}"/>
<rect x="{j}" y="250" width="22" height="122" rx="11" fill="{shade}"/>
<circle cx="106" cy="311" r="9" fill="{accent}"/><circle cx="374" cy="311" r="9" fill="{accent}"/>"##,
        r = 396 - cup,
        i = 84 + cup - 8,
        j = 396 - cup - 14,
    )
}

fn television(p: &Palette, dice: &mut Dice) -> String {
    let hills = (
        230 + dice.roll(30),
        190 + dice.roll(50),
        240 + dice.roll(30),
    );
    let foot = if dice.roll(2) == 0 {
        format!(
            r##"<path d="M220 336 H260 L268 384 H212 Z" fill="{}"/><rect x="160" y="382" width="160" height="12" rx="6" fill="{}"/>"##,
            p.shade, p.body
        )
    } else {
        format!(
            r##"<path d="M120 336 L100 394 M360 336 L380 394" stroke="{}" stroke-width="11" stroke-linecap="round"/>"##,
            p.shade
        )
    };
    format!(
        r##"{foot}<rect x="46" y="106" width="388" height="234" rx="12" fill="{shade}"/>
<rect x="56" y="116" width="368" height="210" rx="5" fill="url(#glass)"/>
<circle cx="{sun}" cy="180" r="30" fill="{accent}" opacity="0.9"/>
<path d="M56 {a} Q150 {b} 240 {a} T424 {c} V326 H56 Z" fill="#000" opacity="0.22"/>
<path d="M56 290 Q180 240 300 284 T424 270 V326 H56 Z" fill="#000" opacity="0.25"/>
<circle cx="240" cy="333" r="3" fill="{accent}"/>"##,
        a = hills.0,
        b = hills.1,
        c = hills.2,
        sun = 130 + dice.roll(220),
        shade = p.shade,
        accent = p.accent,
    )
}

fn camera(slug: &str, p: &Palette, dice: &mut Dice) -> String {
    let (accent, shade) = (p.accent, p.shade);
    if slug.contains("action") {
        return format!(
            r##"<rect x="128" y="140" width="224" height="232" rx="30" fill="url(#body)"/>
<circle cx="270" cy="222" r="60" fill="{shade}"/><circle cx="270" cy="222" r="44" fill="url(#glass)"/>
<circle cx="256" cy="206" r="12" fill="#fff" opacity="0.5"/>
<rect x="152" y="296" width="{}" height="50" rx="8" fill="url(#glass)"/>
<rect x="164" y="128" width="54" height="14" rx="7" fill="{accent}"/>"##,
            80 + dice.roll(50)
        );
    }
    let lens = 76 + dice.roll(22);
    format!(
        r##"<g transform="translate(0 26)"><path d="M176 162 L198 122 H282 L304 162 Z" fill="{body}"/>
<rect x="106" y="144" width="50" height="20" rx="8" fill="{accent}"/>
<rect x="74" y="158" width="332" height="224" rx="30" fill="url(#body)"/>
<rect x="74" y="200" width="332" height="120" fill="#000" opacity="0.20"/>
<circle cx="248" cy="272" r="{o}" fill="{shade}"/><circle cx="248" cy="272" r="{lens}" fill="#0c0f13"/>
<circle cx="248" cy="272" r="{g}" fill="url(#glass)"/><circle cx="248" cy="272" r="{h}" fill="#000" opacity="0.35"/>
<circle cx="226" cy="248" r="14" fill="#fff" opacity="0.55"/>
<circle cx="370" cy="184" r="10" fill="{accent}"/><rect x="204" y="134" width="72" height="16" rx="8" fill="url(#glass)"/></g>"##,
        o = lens + 14,
        g = lens - 14,
        h = lens - 44,
        body = p.body,
    )
}

fn power_bank(p: &Palette, dice: &mut Dice) -> String {
    let (width, lit) = (170 + dice.roll(60), 1 + dice.roll(4));
    let left = 240 - width / 2;
    let lamps: String = (0..4)
        .map(|n| {
            let colour = if n < lit { p.accent } else { "#8d949e" };
            format!(
                r##"<circle cx="{}" cy="372" r="6" fill="{colour}"/>"##,
                204 + n * 24
            )
        })
        .collect();
    let bolt = 200 + dice.roll(40);
    format!(
        r##"<rect x="{left}" y="84" width="{width}" height="326" rx="30" fill="url(#body)"/>
<rect x="{i}" y="98" width="{w}" height="298" rx="20" fill="#fff" opacity="0.07"/>
<rect x="208" y="84" width="26" height="9" rx="3" fill="#000" opacity="0.5"/><rect x="246" y="84" width="26" height="9" rx="3" fill="{accent}"/>
<path d="M252 {a} L206 {b} H238 L228 {c} L276 {d} H243 Z" fill="{accent}"/>
{lamps}"##,
        i = left + 14,
        w = width - 28,
        a = bolt - 50,
        b = bolt + 20,
        c = bolt + 84,
        d = bolt + 6,
        accent = p.accent,
    )
}

fn router(p: &Palette, dice: &mut Dice) -> String {
    let antennas = 2 + dice.roll(4);
    let gap = 290 / (antennas - 1);
    let tilt = 8 + dice.roll(14);
    let masts: String = (0..antennas)
        .map(|n| {
            let x = 95 + n * gap;
            let top = if n < antennas / 2 { x.saturating_sub(tilt) } else { x + tilt };
            format!(
                r##"<path d="M{x} 310 L{top} 122" stroke="{}" stroke-width="15" stroke-linecap="round"/>"##,
                p.shade
            )
        })
        .collect();
    let lamps: String = (0..5)
        .map(|n| {
            let colour = if dice.roll(4) > 0 {
                p.accent
            } else {
                "#8d949e"
            };
            format!(
                r##"<circle cx="{}" cy="352" r="5.5" fill="{colour}"/>"##,
                188 + n * 26
            )
        })
        .collect();
    format!(
        r##"{masts}<path d="M84 300 H396 L424 376 Q428 396 408 396 H72 Q52 396 56 376 Z" fill="url(#body)"/>
<path d="M84 300 H396 L404 322 H76 Z" fill="#fff" opacity="0.10"/>{lamps}
<g fill="none" stroke="{accent}" stroke-width="9" stroke-linecap="round"><path d="M214 206 Q240 182 266 206"/><path d="M194 180 Q240 138 286 180"/></g><circle cx="240" cy="228" r="9" fill="{accent}"/>"##,
        accent = p.accent,
    )
}

fn watch(p: &Palette, dice: &mut Dice) -> String {
    let (accent, body, shade) = (p.accent, p.body, p.shade);
    let strap = if dice.roll(2) == 0 { accent } else { body };
    let angle = dice.roll(12) * 30;
    let (case, face) = if dice.roll(2) == 0 {
        (
            r##"<circle cx="240" cy="240" r="104" fill="url(#body)"/><circle cx="240" cy="240" r="88" fill="#0c0f13"/>"##,
            r##"<circle cx="240" cy="240" r="80" fill="url(#glass)"/>"##,
        )
    } else {
        (
            r##"<rect x="146" y="134" width="188" height="212" rx="50" fill="url(#body)"/><rect x="158" y="146" width="164" height="188" rx="40" fill="#0c0f13"/>"##,
            r##"<rect x="166" y="154" width="148" height="172" rx="34" fill="url(#glass)"/>"##,
        )
    };
    format!(
        r##"<path d="M188 150 L198 44 H282 L292 150 Z M188 330 L198 436 H282 L292 330 Z" fill="{strap}"/>
<path d="M188 150 L191 116 H289 L292 150 Z M188 330 L191 364 H289 L292 330 Z" fill="#000" opacity="0.25"/>
<rect x="336" y="220" width="14" height="40" rx="6" fill="{shade}"/>{case}{face}
<circle cx="240" cy="240" r="58" fill="none" stroke="#fff" stroke-opacity="0.25" stroke-width="9"/>
<path d="M240 182 A58 58 0 0 1 {ex} {ey}" fill="none" stroke="{accent}" stroke-width="9" stroke-linecap="round"/>
<g transform="rotate({angle} 240 240)"><path d="M240 240 V204" stroke="#fff" stroke-width="7" stroke-linecap="round"/></g>
<path d="M240 240 L266 256" stroke="#fff" stroke-width="5" stroke-linecap="round"/><circle cx="240" cy="240" r="6" fill="#fff"/>"##,
        ex = 284 + dice.roll(12),
        ey = 224 + dice.roll(40),
    )
}

fn gaming(slug: &str, p: &Palette, dice: &mut Dice) -> String {
    let (accent, body, shade) = (p.accent, p.body, p.shade);
    let buttons = |x: i32, y: i32| {
        format!(
            r##"<circle cx="{x}" cy="{}" r="10" fill="{accent}"/><circle cx="{x}" cy="{}" r="10" fill="#fff" opacity="0.7"/><circle cx="{}" cy="{y}" r="10" fill="#fff" opacity="0.7"/><circle cx="{}" cy="{y}" r="10" fill="{accent}"/>"##,
            y - 22,
            y + 22,
            x - 22,
            x + 22
        )
    };
    if slug.contains("mouse") {
        return format!(
            r##"<rect x="158" y="84" width="164" height="318" rx="82" fill="url(#body)"/><path d="M240 86 V200" stroke="#000" stroke-opacity="0.4" stroke-width="4"/>
<path d="M158 200 Q240 236 322 200" fill="none" stroke="#000" stroke-opacity="0.3" stroke-width="4"/><rect x="228" y="124" width="24" height="56" rx="12" fill="{accent}"/>
<path d="M186 330 Q240 {} 294 330" fill="none" stroke="{accent}" stroke-width="8" stroke-linecap="round"/>"##,
            350 + dice.roll(40)
        );
    }
    if slug.contains("keyboard") {
        let keys: String = (0..4)
            .flat_map(|row| (0..10).map(move |column| (row, column)))
            .map(|(row, column)| {
                let colour = if dice.roll(9) == 0 { accent } else { "#ffffff" };
                format!(
                    r##"<rect x="{}" y="{}" width="28" height="28" rx="6" fill="{colour}" opacity="0.8"/>"##,
                    64 + column * 36,
                    190 + row * 36
                )
            })
            .collect();
        return format!(
            r##"<rect x="44" y="170" width="392" height="220" rx="20" fill="url(#body)"/>{keys}<rect x="136" y="338" width="208" height="28" rx="6" fill="#fff" opacity="0.8"/>"##
        );
    }
    if slug.contains("handheld") {
        return format!(
            r##"<rect x="38" y="142" width="404" height="206" rx="56" fill="url(#body)"/><rect x="124" y="160" width="232" height="170" rx="10" fill="url(#glass)"/>
<circle cx="82" cy="210" r="22" fill="{shade}"/><circle cx="398" cy="286" r="22" fill="{shade}"/><path d="M82 262 V306 M60 284 H104" stroke="#fff" stroke-opacity="0.8" stroke-width="13" stroke-linecap="round"/>{}"##,
            buttons(398, 210)
        );
    }
    if slug.contains("console") {
        return format!(
            r##"<rect x="130" y="74" width="120" height="334" rx="18" fill="url(#body)"/><rect x="130" y="74" width="26" height="334" rx="13" fill="#fff" opacity="0.16"/><rect x="202" y="106" width="6" height="{}" rx="3" fill="{accent}"/>
<circle cx="205" cy="372" r="9" fill="#fff" opacity="0.7"/><g transform="translate(236 296) scale(0.44)"><path d="M136 60 H344 Q404 60 424 150 Q446 256 408 276 Q380 290 342 230 Q328 210 304 210 H176 Q152 210 138 230 Q100 290 72 276 Q34 256 56 150 Q76 60 136 60 Z" fill="{body}" stroke="#fff" stroke-opacity="0.5" stroke-width="8"/><path d="M144 100 V152 M118 126 H170" stroke="#fff" stroke-width="17" stroke-linecap="round"/><circle cx="336" cy="126" r="24" fill="{accent}"/><circle cx="198" cy="176" r="25" fill="{shade}"/><circle cx="282" cy="176" r="25" fill="{shade}"/></g>"##,
            120 + dice.roll(110)
        );
    }
    if slug.ends_with("vr") {
        return format!(
            r##"<path d="M96 230 C96 70 384 70 384 230" fill="none" stroke="{shade}" stroke-width="26"/><path d="M76 214 H404 Q424 214 424 240 V318 Q424 358 384 358 H312 Q284 358 272 334 Q240 296 208 334 Q196 358 168 358 H96 Q56 358 56 318 V240 Q56 214 76 214 Z" fill="url(#body)"/><rect x="86" y="234" width="308" height="58" rx="29" fill="url(#glass)"/><circle cx="{}" cy="263" r="9" fill="{accent}"/>"##,
            140 + dice.roll(200)
        );
    }
    format!(
        r##"<path d="M136 160 H344 Q404 160 424 250 Q446 356 408 376 Q380 390 342 330 Q328 310 304 310 H176 Q152 310 138 330 Q100 390 72 376 Q34 356 56 250 Q76 160 136 160 Z" fill="url(#body)"/>
<path d="M144 200 V252 M118 226 H170" stroke="#fff" stroke-opacity="0.85" stroke-width="17" stroke-linecap="round"/>{}<circle cx="198" cy="276" r="25" fill="{shade}"/><circle cx="282" cy="276" r="25" fill="{shade}"/><rect x="218" y="196" width="44" height="15" rx="7.5" fill="{accent}"/>"##,
        buttons(336, 226)
    )
}

fn appliance(slug: &str, p: &Palette, dice: &mut Dice) -> String {
    let (accent, body, shade) = (p.accent, p.body, p.shade);
    let knob = 150 + dice.roll(180);
    let has = |word: &str| slug.contains(word);
    if has("kettle") {
        format!(
            r##"<path d="M330 180 Q410 186 400 270 Q394 326 338 340" fill="none" stroke="{shade}" stroke-width="24" stroke-linecap="round"/><path d="M160 150 H320 L350 386 H130 Z" fill="url(#body)"/><path d="M166 170 L112 150 L152 226 Z" fill="{body}"/><rect x="176" y="122" width="128" height="30" rx="15" fill="{shade}"/><circle cx="240" cy="112" r="13" fill="{accent}"/><rect x="118" y="384" width="244" height="24" rx="12" fill="{shade}"/><rect x="232" y="200" width="16" height="130" rx="8" fill="url(#glass)"/>"##
        )
    } else if has("blender") {
        format!(
            r##"<path d="M158 84 H322 L300 292 H180 Z" fill="url(#glass)" opacity="0.85"/><path d="M178 190 H302 L292 292 H188 Z" fill="{accent}" opacity="0.55"/><rect x="150" y="64" width="180" height="26" rx="13" fill="{shade}"/><path d="M168 292 H312 L336 408 H144 Z" fill="url(#body)"/><circle cx="240" cy="352" r="26" fill="{shade}"/><path d="M240 352 V330" stroke="{accent}" stroke-width="7" stroke-linecap="round"/>"##
        )
    } else if has("rice-cooker") {
        format!(
            r##"<path d="M110 210 Q240 96 370 210 Z" fill="{body}"/><rect x="222" y="126" width="36" height="24" rx="12" fill="{accent}"/><path d="M96 206 H384 L366 376 Q362 404 330 404 H150 Q118 404 114 376 Z" fill="url(#body)"/><rect x="92" y="200" width="296" height="18" rx="9" fill="{shade}"/><rect x="188" y="276" width="104" height="76" rx="14" fill="{shade}"/><circle cx="240" cy="300" r="9" fill="{accent}"/><rect x="214" y="322" width="52" height="14" rx="7" fill="#fff" opacity="0.6"/>"##
        )
    } else if has("fan") {
        let turn = dice.roll(120);
        format!(
            r##"<rect x="231" y="270" width="18" height="126" fill="{shade}"/><rect x="160" y="388" width="160" height="20" rx="10" fill="{body}"/><circle cx="240" cy="194" r="128" fill="#fff" opacity="0.6"/><g transform="rotate({turn} 240 194)" fill="{accent}" opacity="0.85"><path d="M240 194 C180 150 200 84 262 84 C300 100 290 160 240 194"/><path transform="rotate(120 240 194)" d="M240 194 C180 150 200 84 262 84 C300 100 290 160 240 194"/><path transform="rotate(240 240 194)" d="M240 194 C180 150 200 84 262 84 C300 100 290 160 240 194"/></g><g fill="none" stroke="{body}"><circle cx="240" cy="194" r="128" stroke-width="9"/><circle cx="240" cy="194" r="92" stroke-width="3"/><circle cx="240" cy="194" r="58" stroke-width="3"/></g><circle cx="240" cy="194" r="25" fill="{shade}"/>"##
        )
    } else if has("iron") {
        format!(
            r##"<path d="M70 372 Q96 226 250 216 H400 L420 372 Z" fill="url(#body)"/><path d="M60 372 H424 V388 Q424 400 410 400 H66 Q54 400 60 372 Z" fill="{shade}"/><path d="M186 226 Q206 130 300 130 H392 Q414 130 410 158 L402 222" fill="none" stroke="{shade}" stroke-width="27" stroke-linecap="round"/><circle cx="300" cy="296" r="29" fill="{accent}"/><path d="M300 296 V276" stroke="#fff" stroke-width="6" stroke-linecap="round"/>"##
        )
    } else if has("microwave") {
        format!(
            r##"<rect x="52" y="144" width="376" height="246" rx="18" fill="url(#body)"/><rect x="72" y="166" width="254" height="202" rx="12" fill="#0c0f13"/><rect x="84" y="178" width="230" height="178" rx="8" fill="url(#glass)" opacity="0.8"/><rect x="344" y="172" width="66" height="30" rx="6" fill="{accent}"/><circle cx="377" cy="250" r="25" fill="{shade}"/><circle cx="377" cy="326" r="25" fill="{shade}"/><rect x="86" y="388" width="40" height="18" fill="{shade}"/><rect x="354" y="388" width="40" height="18" fill="{shade}"/>"##
        )
    } else if has("vacuum") {
        format!(
            r##"<path d="M230 300 C160 120 330 50 370 130 L412 372" fill="none" stroke="{shade}" stroke-width="17" stroke-linecap="round"/><rect x="366" y="372" width="84" height="26" rx="10" fill="{body}"/><path d="M66 350 Q66 226 190 226 Q314 226 314 350 Z" fill="url(#body)"/><rect x="58" y="344" width="264" height="34" rx="17" fill="{shade}"/><circle cx="112" cy="380" r="27" fill="{body}"/><circle cx="268" cy="380" r="27" fill="{body}"/><circle cx="190" cy="294" r="33" fill="url(#glass)"/><rect x="150" y="238" width="80" height="10" rx="5" fill="{accent}"/>"##
        )
    } else if has("washer") {
        format!(
            r##"<rect x="102" y="66" width="276" height="342" rx="18" fill="url(#body)"/><rect x="102" y="66" width="276" height="66" rx="18" fill="#fff" opacity="0.14"/><circle cx="{knob}" cy="99" r="17" fill="{accent}"/><circle cx="240" cy="266" r="106" fill="{shade}"/><circle cx="240" cy="266" r="82" fill="url(#glass)"/><path d="M160 282 Q200 252 240 282 T320 282 Q312 346 240 348 Q168 346 160 282 Z" fill="#fff" opacity="0.35"/>"##
        )
    } else if has("fridge") {
        format!(
            r##"<rect x="140" y="46" width="200" height="366" rx="20" fill="url(#body)"/><rect x="140" y="170" width="200" height="6" fill="#000" opacity="0.35"/><rect x="162" y="96" width="12" height="56" rx="6" fill="{accent}"/><rect x="162" y="196" width="12" height="96" rx="6" fill="{accent}"/><rect x="250" y="82" width="62" height="36" rx="8" fill="url(#glass)"/><path d="M320 60 V398" stroke="#fff" stroke-opacity="0.14" stroke-width="{}"/>"##,
            10 + dice.roll(20)
        )
    } else {
        format!(
            r##"<rect x="46" y="132" width="388" height="136" rx="30" fill="url(#body)"/><rect x="70" y="228" width="340" height="20" rx="10" fill="{shade}"/><rect x="{}" y="160" width="70" height="26" rx="8" fill="url(#glass)"/><circle cx="396" cy="172" r="7" fill="{accent}"/><g fill="none" stroke="{accent}" stroke-width="9" stroke-linecap="round" opacity="0.75"><path d="M140 300 q16 26 0 52 q-14 22 0 40"/><path d="M240 300 q16 26 0 52 q-14 22 0 40"/><path d="M340 300 q16 26 0 52 q-14 22 0 40"/></g>"##,
            90 + dice.roll(180)
        )
    }
}
