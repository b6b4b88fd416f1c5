namespace TransferEngine.Conformance;

internal sealed class FunctionRows : RowFamily
{
    public override IEnumerable<OperatorRow> Rows =>
    [
        .. OperatorRow.Unary("Exp", x => x.Exp(), Math.Exp),
        .. OperatorRow.Unary("Expm1", x => x.Expm1(), v => Math.Abs(v) < 1e-5 ? v + v * v / 2 : Math.Exp(v) - 1),
        .. OperatorRow.Unary("Log", x => x.Log(), Math.Log, Positive),
        .. OperatorRow.Unary("Log1p", x => x.Log1p(), v => Math.Log(1 + v), Positive),
        .. OperatorRow.Unary("Sqrt", x => x.Sqrt(), Math.Sqrt, Positive),
        .. OperatorRow.Unary("Rsqrt", x => x.Rsqrt(), v => 1 / Math.Sqrt(v), Positive),
        .. OperatorRow.Unary("Square", x => x.Square(), v => v * v),
        .. OperatorRow.Unary("Reciprocal", x => x.Reciprocal(), v => 1 / v, Positive),
        .. OperatorRow.Unary("Abs", x => x.Abs(), Math.Abs, Domains.NotAt(0)),
        .. OperatorRow.Unary("Sin", x => x.Sin(), Math.Sin, row => row with { Range = (-40, 40) }),
        .. OperatorRow.Unary("Cos", x => x.Cos(), Math.Cos, row => row with { Range = (-40, 40) }),
        .. OperatorRow.Unary("Erf", x => x.Erf(), Domains.Erf, row => row with { Range = (-4, 4), Tolerance64 = 1e-10 }),
        .. OperatorRow.Unary("Pow", x => x.Pow(3), v => v * v * v, row => row with { Tolerance32 = 1e-5 }),
        .. OperatorRow.Unary("Pow", x => x.Pow(0), _ => 1),
        .. OperatorRow.Unary("Pow", x => x.Pow(-1.5), v => Math.Pow(v, -1.5), row => Positive(row) with { Tolerance32 = 1e-5 }),
        .. OperatorRow.Binary("Pow", (a, b) => a.Pow(b), Math.Pow, row => Positive(row) with { Tolerance32 = 1e-5 }),
        .. OperatorRow.Unary("Sign", x => x.Sign(), v => Math.Sign(v), NoGradient),
        .. OperatorRow.Unary("Floor", x => x.Floor(), Math.Floor, NoGradient),
        .. OperatorRow.Unary("Ceiling", x => x.Ceiling(), Math.Ceiling, NoGradient),
        .. OperatorRow.Unary("Round", x => x.Round(), v => Math.Round(v, MidpointRounding.ToEven), row => NoGradient(row) with { Domain = (value, _) => Math.Round(value * 4) / 4 }),
    ];

    private static OperatorRow Positive(OperatorRow row) => row with { Range = (0.3, 3) };

    private static OperatorRow NoGradient(OperatorRow row) => row with { Differentiable = false };
}

/// <summary>Domains and references that several families share.</summary>
internal static class Domains
{
    /// <summary>Moves values off kinks.</summary>
    public static Func<OperatorRow, OperatorRow> NotAt(params double[] kinks) => row => row with
    {
        Domain = (value, _) =>
        {
            foreach (double kink in kinks)
            {
                if (Math.Abs(value - kink) < 0.01)
                    value = kink + Math.CopySign(0.02, value - kink);
            }
            return value;
        },
    };

    /// <summary>The error function by its series of positive terms, in double.</summary>
    public static double Erf(double x)
    {
        double term = x, sum = x;
        for (int k = 1; k < 200; k++)
            sum += term *= 2 * x * x / (2 * k + 1);
        return 2 / Math.Sqrt(Math.PI) * Math.Exp(-x * x) * sum;
    }
}
