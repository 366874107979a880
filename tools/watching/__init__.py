"""What operators watch: alarms, a dashboard and queries, written as templates from the application's own metrics."""
