//! The form of an error, and errors about the form of the file.

use super::*;

#[test]
fn an_error_shows_place_line_and_remedy() {
    let error = Config::parse(&SMALLEST.replace("8::/64", "8::5/64"), "i.toml").unwrap_err();
    let expected = r#"
i.toml:7:13: 2001:db8::5/64 has bits set beyond its length
7 | prefixes = ["2001:db8::5/64"]
  |             ^^^^^^^^^^^^^^^^
  = write "2001:db8::/64""#;
    assert_eq!(error.to_string(), expected.trim_start());
}

#[test]
fn of_a_long_line_the_place_is_shown() {
    let many = "\"2001:db8::/64\", ".repeat(1000);
    let text = SMALLEST.replace("\"2001:db8::/64\"", &format!("{many}\"fe8x::/64\", {many}"));
    let error = Config::parse(&text, "i.toml").unwrap_err().to_string();
    let start = error.find("i.toml:7:17013").expect("the place");
    let lines: Vec<&str> = error[start..].lines().take(3).collect();
    assert!(lines[1].starts_with("7 | …") && lines[1].ends_with('…'), "{}", lines[1]);
    let column = lines[2].find('^').expect("a mark");
    let shown: String = lines[1].chars().skip(column).take(lines[2].matches('^').count()).collect();
    assert_eq!(shown, "\"fe8x::/64\"");
    assert!(lines[1].chars().count() < 200);
}

#[test]
fn everything_wrong_is_said_at_once() {
    let text = r#"
[uplink]
interface = "a-name-too-long-for-linux"
[[site]]
name = "home"
interface = "wg0"
prefixes = ["fe80::/64"]
[[listen]]
ports = [443, 0, 443]
"#;
    let error = Config::parse(text, "i.toml").unwrap_err();
    let ConfigError::Invalid { problems, .. } = error else { panic!("{error}") };
    let lines: Vec<_> = problems.iter().map(|p| p.place.as_ref().unwrap().line).collect();
    assert_eq!(lines, [3, 7, 9, 9]);
}

#[test]
fn keys_and_values_of_no_meaning() {
    refused(
        "ports",
        "prots",
        "i.toml:9:1: unknown key `prots`",
        "= did you mean `ports`? the keys here are ports, protocol, address, default_host, timestamps",
    );
    refused(
        "",
        "protocol = \"tsl\"",
        "i.toml:10:12: unknown value \"tsl\"",
        "= did you mean `tls`? the choices are tls, postgres",
    );
    refused("name = \"home\"\n", "", "i.toml:4:1: `name` is missing", "= add name = \"home\"");
    refused(
        "[443]",
        "443",
        "i.toml:9:9: invalid type: integer `443`, expected a sequence",
        "= see /usr/share/doc/ingress/ingress.toml for the form of each value",
    );
    refused(
        "[uplink]\ninterface = \"eth0\"",
        "",
        "i.toml: there is no [uplink]",
        "= add [uplink] with interface = \"eth0\"",
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("/nowhere/ingress.toml")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nowhere/ingress.toml: no such file; write one, or name one with --config"
    );
}
